"""Tests of visit-counter: unit, contract, integration and end to end, and the real parts they start."""
