"""Unit tests: no network, no sleep, no real clock."""
