"""Folds one partition of the log into the shadow, by the aggregator's own state machine, beside live counting.

Nothing here decides what counts: the shadow is found, fenced, verified and applied to as the live generation is. Only what cannot be
read is passed over in silence, since it was put among the dead letters when it was counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from services.aggregator.metrics import AggregatorMetrics
from services.aggregator.partition import Dependencies, Partition
from services.backends.generation import SHADOW_KEPT_MS, Generations
from services.backends.port import EventLog, Extent, Fetched, LogConsumer
from services.runtime.clock import now_ms
from visits.codec import DecodedBatch
from visits.errors import LogUnavailableError, UnavailableError
from visits.fence import Fence
from visits.state import Parameters

FETCH_WAIT_SECONDS = 0.5
STUCK_SECONDS = 60.0
"""Without any progress for so long, a log or store that is away ends the replay."""

BACK_OFF_SECONDS = 1.0
KEEP_SECONDS = 5.0
"""How often a replay gives a sign of life, which puts off the shadow's removal."""

SIGN_MS = 15_000
"""A shadow with a sign of life within so long belongs to somebody."""


class ShadowPartition(Partition):
    """A partition whose store is the shadow."""

    @property
    def is_verified(self) -> bool:
        """Claim that the position is known and the log goes with it."""
        return self._fence is not None and not self._must_verify

    async def _bury(self, decoded: DecodedBatch) -> None:
        """Pass over what cannot be read."""


class Replay:
    """One partition of the log on its way into the shadow.

    Attributes:
        partition: which.
        generation: the shadow's number, 0 before `start`.
        guarded: further generations whose removal is put off with the shadow's.
    """

    def __init__(
        self,
        log: EventLog,
        generations: Generations,
        partition: int,
        parameters: Parameters,
        *,
        rest: float = 0.0,
    ) -> None:
        """Take opened backends.

        Args:
            log: where the records are.
            generations: of the store to fill.
            partition: which.
            parameters: what the fold goes by.
            rest: how long to rest after each step, as a share of the step, for whoever shares the disk.
        """
        self.partition = partition
        self.generation = 0
        self.guarded: list[int] = []
        self._log = log
        self._generations = generations
        self._parameters = parameters
        self._rest = rest
        self._consumer: _Bounded | None = None
        self._machine: ShadowPartition | None = None
        self._kept_at = 0.0

    @property
    def position(self) -> int:
        """How far the shadow is counted."""
        position = None if self._machine is None else self._machine.position
        return position or 0

    async def start(self) -> Extent:
        """Find the shadow, or make one at the beginning of the log, and return what the log holds.

        Raises:
            PartitionStoppedError: the log does not reach back to where the shadow begins, or another log goes with it.
            UnavailableError: log or store do not answer.
        """
        self._consumer = _Bounded(await self._log.replay(self.partition))
        shared = Dependencies(
            self._log,
            self._generations.shadow(),
            self._consumer,
            self._parameters,
            AggregatorMetrics(CollectorRegistry()),
            1.0,
            now_ms,
        )
        self._machine = ShadowPartition(self.partition, 1, shared)
        await self._machine.locate(await self._log.identity())
        self.generation = (await self._generations.overview(self.partition)).shadow
        return await self._consumer.extent(self.partition)

    async def extent(self) -> Extent:
        """Return what the log holds now."""
        assert self._consumer is not None, "asked after start"
        return await self._consumer.extent(self.partition)

    async def fence(self) -> Fence | None:
        """Return the shadow's fence."""
        head = await self._generations.shadow().head(self.partition)
        return None if head is None else head.fence

    async def up_to(
        self, end: int, on_progress: Callable[[int], None], waiting: Sequence[Replay] = ()
    ) -> None:
        """Count the records before `end`, and none after.

        Args:
            end: the position to stop at.
            on_progress: hears the position after each step.
            waiting: other replays, for which signs of life are given meanwhile.

        Raises:
            PartitionStoppedError: they cannot be counted, with the reason.
            UnavailableError: log or store have been away for `STUCK_SECONDS`, or another rebuild took the shadow.
        """
        assert self._machine is not None, "started before"
        assert self._consumer is not None, "started before"
        if self._consumer.has_held_back:
            self._machine.relocate()
        self._consumer.end, self._consumer.has_held_back = end, False
        moved_at, reached = time.monotonic(), -1
        while True:
            began = time.monotonic()
            failure: UnavailableError | None = None
            try:
                await self._step(end)
            except UnavailableError as error:
                self._machine.relocate()
                failure = error
            if self.position > reached:
                moved_at, reached = time.monotonic(), self.position
                on_progress(reached)
            for each in (self, *waiting):
                await each.keep()
            if self._is_at(end):
                return
            if time.monotonic() - moved_at > STUCK_SECONDS:
                raise failure or LogUnavailableError(
                    f"partition {self.partition} stands at {self.position} of {end}: no further record came in {STUCK_SECONDS:g} s"
                )
            await asyncio.sleep(
                BACK_OFF_SECONDS if failure else self._rest * (time.monotonic() - began)
            )

    async def keep(self) -> None:
        """Give a sign of life now and then.

        Raises:
            LogUnavailableError: another rebuild has taken the shadow's place.
        """
        if time.monotonic() - self._kept_at < KEEP_SECONDS:
            return
        self._kept_at = time.monotonic()
        found = await self._generations.overview(self.partition)
        if found.shadow != self.generation:
            raise LogUnavailableError(
                f"partition {self.partition}: another rebuild has taken this one's place"
            )
        for generation in (self.generation, *self.guarded):
            await self._generations.keep(self.partition, generation, now_ms() + SHADOW_KEPT_MS)

    async def close(self) -> None:
        """Let the log go; the shadow stays."""
        if self._consumer is not None:
            await self._consumer.close()

    def _is_at(self, end: int) -> bool:
        """Claim that the shadow is counted to a position, of the log there is."""
        return self._machine is not None and self._machine.is_verified and self.position >= end

    async def _step(self, end: int) -> None:
        """Find the place if need be, and count what has come, as the aggregator's loop does."""
        assert self._machine is not None, "started before"
        assert self._consumer is not None, "started before"
        if self._machine.is_due:
            await self._machine.locate(await self._log.identity())
        if self._is_at(end):
            return
        arrived = await self._consumer.fetch(FETCH_WAIT_SECONDS)
        if any(fetched.records for fetched in arrived):
            self._machine.hold_to(await self._log.identity())
        for fetched in arrived:
            await self._machine.take(fetched)


async def is_taken(generations: Generations, partition: int, now: int) -> bool:
    """Claim that somebody fills the partition's shadow right now."""
    found = await generations.overview(partition)
    until = found.doomed.get(found.shadow, 0)
    return bool(found.shadow) and until > now + SHADOW_KEPT_MS - SIGN_MS


class _Bounded:
    """A `LogConsumer` that hands out nothing from a position on.

    Attributes:
        end: that position.
        has_held_back: records were dropped for lying behind it; to have them, the place must be found again.
    """

    def __init__(self, consumer: LogConsumer) -> None:
        self.end = 0
        self.has_held_back = False
        self._consumer = consumer

    @property
    def assigned(self) -> frozenset[int]:
        """What the consumer reads."""
        return self._consumer.assigned

    def generation(self, partition: int) -> int:
        """Return the consumer's."""
        return self._consumer.generation(partition)

    async def seek(self, partition: int, position: int) -> int:
        """Read on from a position."""
        return await self._consumer.seek(partition, position)

    async def fetch(self, wait_seconds: float) -> list[Fetched]:
        """Return what has come and lies before the end."""
        return [self._cut(fetched) for fetched in await self._consumer.fetch(wait_seconds)]

    def _cut(self, fetched: Fetched) -> Fetched:
        records = tuple(record for record in fetched.records if record.position < self.end)
        self.has_held_back |= len(records) < len(fetched.records)
        end = min(fetched.end, self.end)
        return Fetched(fetched.partition, fetched.epoch, records, end, fetched.heard_at)

    async def extent(self, partition: int) -> Extent:
        """Return what the log holds."""
        return await self._consumer.extent(partition)

    async def note_position(self, positions: dict[int, int]) -> None:
        """Do nothing: no group is to know."""

    async def close(self) -> None:
        """Let the log go."""
        await self._consumer.close()
