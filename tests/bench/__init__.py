"""Benchmarks: figures with their set-up, never assertions. `make bench` runs them all, `make bench ARGS="NAME …"` some.

Every module here but `__main__` is one: a docstring that says what is measured and how, and `run(bench)`, which sets up the real
parts, measures in rounds (`for _ in bench.rounds()`, one variant after the other within a round, so that a machine that slows down
slows all of them) and records what it found. What benchmarks share stands in `tests/support/`.
"""
