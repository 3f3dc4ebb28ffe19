"""The two ports, `EventLog` and `CounterStore`, and their adapters. Imports `visits` only."""
