"""Tests of what is deployed beside our services."""
