"""The load generator: an open-loop client of the HTTP contract alone; it knows no service from the inside."""
