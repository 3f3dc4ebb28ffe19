"""The exhaustive model of how one partition is counted exactly once."""
