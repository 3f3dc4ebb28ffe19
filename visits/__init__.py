"""The domain of visit-counter: what is counted, and how, as pure functions and frozen values.

Here live records, pages, pseudonyms, the partitioner, the fold, deltas, windows and counters. What must not live here: I/O,
asyncio, clocks, environment, logging, sockets. `now` is always an argument. Only the standard library and msgspec are imported.

The replay law that everything here serves: the store's state at position P is a function of the log before P alone.
"""
