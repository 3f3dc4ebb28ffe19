"""A lane for answers that cost the store more than a counter does: few at a time, each once for all who ask, kept a while.

So nobody who asks for histories or books in a loop can take the store away from counting: a lane may rest after each answer for a
multiple of the time it took, and who would have to wait longer is told to come again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog
from msgspec import Struct, field

from services.runtime.problem import ProblemError
from visits.errors import UnavailableError

PATIENCE_SECONDS = 5.0
"""How long one who asks waits; the answer is drawn up to its end all the same, and kept."""

WAITING_MAX = 256
"""How many different answers may wait for their turn."""

KEPT_MAX = 256
"""How many answers are kept."""

FRESH_SECONDS = 1.0
FRESH_TIMES = 20
"""An answer is given out again for a second, or for so many times as long as it took, whichever is longer."""

log = structlog.get_logger()
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Kept(Struct, Generic[T_co], frozen=True):
    """One answer, and how long it is good (monotonic seconds).

    Attributes:
        value: the answer.
        fresh_until: until when it is given out again.
        is_late: it could not be drawn up anew: the last good one.
        forms: what it was rendered to already, by those who asked (`services.api.answer`).
    """

    value: T_co
    fresh_until: float
    is_late: bool = False
    forms: dict[Hashable, tuple[bytes, str]] = field(default_factory=dict)


class Lane(Generic[T]):
    """Draws up answers, few at a time."""

    def __init__(self, *, at_once: int, rest: float = 0.0) -> None:
        """Make an empty lane.

        Args:
            at_once: how many answers are drawn up at the same time.
            rest: how many times as long as an answer took its place stays empty afterwards.
        """
        self._rest = rest
        self._room = asyncio.Semaphore(at_once)
        self._kept: OrderedDict[Hashable, Kept[T]] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Task[Kept[T]]] = {}

    async def get(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[T]],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Kept[T]:
        """Return the answer kept under `key`, or the one that `make` draws up; the last good one where that fails or takes long.

        Args:
            key: what is asked.
            make: draws it up.
            patience_seconds: how long this one waits.

        Raises:
            ProblemError: there is no answer yet, and it takes longer than that, or too many wait.
            UnavailableError: there is no answer yet, and the store is away.
        """
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() < kept.fresh_until:
            return kept
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= WAITING_MAX:
                raise _busy()
            task = self._under_way[key] = asyncio.create_task(self._draw_up(key, make))
            task.add_done_callback(lambda _task: self._forget_task(key))
        await asyncio.wait({task}, timeout=patience_seconds)
        if not task.done():
            if kept is None:
                raise _busy()
            return Kept(kept.value, kept.fresh_until, is_late=True)
        error = task.exception()
        if isinstance(error, UnavailableError) and kept is not None:
            return Kept(kept.value, kept.fresh_until, is_late=True)
        return task.result()

    async def close(self) -> None:
        """End what is being drawn up."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _draw_up(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> Kept[T]:
        await self._room.acquire()
        begun = time.monotonic()
        try:
            value = await make()
        finally:
            took = time.monotonic() - begun
            asyncio.get_running_loop().call_later(took * self._rest, self._room.release)
        fresh_seconds = max(FRESH_SECONDS, FRESH_TIMES * took)
        found = self._kept[key] = Kept(value, time.monotonic() + fresh_seconds)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return found

    def _forget_task(self, key: Hashable) -> None:
        task = self._under_way.pop(key)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("an answer could not be drawn up", reason=str(error))


def _busy() -> ProblemError:
    return ProblemError(
        "unavailable", "the answer is being drawn up and takes long: ask again in some seconds",
        headers={"Retry-After": "5"},
    )  # fmt: skip
