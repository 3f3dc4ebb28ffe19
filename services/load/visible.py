"""How long it takes until an acknowledged view is in the numbers, by a sample of the views."""

from __future__ import annotations

import asyncio
from time import monotonic_ns

import msgspec

from services.load.histogram import Histogram
from services.load.outcome import Outcome, Verdict
from services.load.reader import Reader, is_visible
from services.load.schedule import NANOSECONDS
from services.load.workload import Workload
from visits.errors import UnavailableError

SAMPLES_A_SECOND = 20
WAITING_MAX = 64
"""How many samples wait at once; further ones are left out."""

VISIBLE_SECONDS_MAX = 30.0


class _Position(msgspec.Struct):
    position: str | None = None


_decoder = msgspec.json.Decoder(_Position)


class VisibleProbe:
    """Takes a view now and then and asks with `after=` until it is counted.

    Attributes:
        durations: from the acknowledgement to the answer that holds the view: with one request there and back.
        skipped: samples left out because as many as may were waiting.
        failed: samples that were not visible after `VISIBLE_SECONDS_MAX`, or could not be asked for.
    """

    def __init__(self, reader: Reader, workload: Workload) -> None:
        """Ask by `reader` for the views of `workload`."""
        self._reader = reader
        self._workload = workload
        self._next_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.durations = Histogram()
        self.skipped = 0
        self.failed = 0

    def see(self, number: int, outcome: Outcome, now_ns: int, body: bytes) -> None:
        """Take one view's outcome; at most `SAMPLES_A_SECOND` are followed."""
        if outcome.verdict is not Verdict.COUNTED or now_ns < self._next_ns:
            return
        self._next_ns = now_ns + NANOSECONDS // SAMPLES_A_SECOND
        if len(self._tasks) >= WAITING_MAX:
            self.skipped += 1
            return
        position = _decoder.decode(body).position
        if position is None:
            return
        task = asyncio.ensure_future(self._follow(self._workload.site(number), position, now_ns))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for the samples under way."""
        await asyncio.gather(*self._tasks)

    async def _follow(self, site: str, position: str, acknowledged_ns: int) -> None:
        while monotonic_ns() - acknowledged_ns < VISIBLE_SECONDS_MAX * NANOSECONDS:
            try:
                if await is_visible(self._reader, site, position):
                    self.durations.record((monotonic_ns() - acknowledged_ns) // 1000)
                    return
            except UnavailableError:
                await asyncio.sleep(0.1)
        self.failed += 1
