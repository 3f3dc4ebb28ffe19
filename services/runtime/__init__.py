"""What two or more services use: settings, sites, logging, health, clock, the server. Nothing here belongs to one service."""
