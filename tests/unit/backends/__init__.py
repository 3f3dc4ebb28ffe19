"""Tests of the backends without a server."""
