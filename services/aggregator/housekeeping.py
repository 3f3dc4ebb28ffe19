"""What the aggregator does beside counting: removes generations nobody needs any more, and tells how old the last backup is.

Nothing here may hold up counting: each step is bounded, and one that fails is tried again later.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog

from services.aggregator.metrics import AggregatorMetrics
from services.backends.port import CounterStore
from services.runtime.clock import now_ms
from visits.errors import VisitCounterError

LOOK_SECONDS = 10.0
REMOVE_SECONDS = 0.5
"""How soon the next slice follows while there is something to remove."""

log = structlog.get_logger()


class Housekeeping:
    """Slices of housekeeping between batches."""

    def __init__(self, store: CounterStore, metrics: AggregatorMetrics) -> None:
        """Take an opened store."""
        self._store = store
        self._metrics = metrics
        self._due_at = 0.0

    async def step(self, partitions: Iterable[int]) -> None:
        """Remove a slice of each partition's doomed generations, if it is time to look. Raises nothing of ours."""
        now = time.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + LOOK_SECONDS
        generations = self._store.generations()
        try:
            for partition in partitions:
                if await generations.sweep(partition, now_ms()):
                    self._due_at = now + REMOVE_SECONDS
            self._metrics.backup_timestamp.set(await generations.backed_up_at() / 1000)
        except VisitCounterError as error:
            log.warning("housekeeping is put off", reason=str(error))
