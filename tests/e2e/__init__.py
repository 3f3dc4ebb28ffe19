"""End to end tests: whole services, real processes, a real browser."""
