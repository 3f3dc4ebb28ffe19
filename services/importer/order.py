"""Brings what several access logs hold into the order of time, with bounded memory.

A web server writes a line when it has answered, with the time the request came in: lines stand a little out of order.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from services.importer.judge import Shown
from visits.counters import MINUTE_MS

WINDOW_MS = 10 * MINUTE_MS
"""How far out of order lines are put right; beyond, they are counted where they stand, as late views are."""

CHUNK_SIZE = 20_000
HELD_MAX = 200_000
"""How many views are held at most, also when more than these fall into one window."""

_at = attrgetter("at")


def merge(sources: Sequence[Iterable[Shown]]) -> Iterable[Shown]:
    """Return the views of several files by time; each file's own order stays."""
    return sources[0] if len(sources) == 1 else heapq.merge(*sources, key=_at)


def in_order(shown: Iterable[Shown], chunk_size: int = CHUNK_SIZE) -> Iterator[list[Shown]]:
    """Yield views in chunks sorted by time; only one that stood further back than `WINDOW_MS` comes after later ones.

    Views of one moment keep their order, so that the same files give the same result.
    """
    held: list[Shown] = []
    fresh = 0
    for item in shown:
        held.append(item)
        fresh += 1
        if fresh < chunk_size:
            continue
        fresh = 0
        held.sort(key=_at)
        ready = bisect_right(held, held[-1].at - WINDOW_MS, key=_at)
        ready = max(ready, len(held) - HELD_MAX)
        if ready:
            yield held[:ready]
            del held[:ready]
    if held:
        held.sort(key=_at)
        yield held
