"""Waiting for the store where there is no last good answer: not as long as the store's own bound, which is the aggregator's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from visits.errors import StoreUnavailableError

ANSWER_SECONDS = 2.0
"""How long one who asks waits for the store."""

LATE_MAX = 64
"""How many readings may be late at once; while so many are, the store hangs and is not asked."""

T = TypeVar("T")


class Patience:
    """Waits for readings, and leaves those that are late to their own end: a connection is not closed under its command."""

    def __init__(self) -> None:
        """Begin with nothing late."""
        self._late: set[asyncio.Task[Any]] = set()

    async def wait(self, reading: Coroutine[Any, Any, T]) -> T:
        """Return what a reading returns.

        Raises:
            StoreUnavailableError: not within `ANSWER_SECONDS`, or the store hangs already.
        """
        if len(self._late) >= LATE_MAX:
            reading.close()
            raise StoreUnavailableError("the store does not answer")
        task = asyncio.create_task(reading)
        try:
            await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        finally:
            if not task.done():
                self._late.add(task)
                task.add_done_callback(self._forget)
        if not task.done():
            raise StoreUnavailableError(f"the store did not answer in {ANSWER_SECONDS:g} s")
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()
