"""The aggregator's loop: one consumer, its partitions, and the second hand of `touch`."""

from __future__ import annotations

import asyncio
import time

import structlog

from services.aggregator.housekeeping import Housekeeping
from services.aggregator.metrics import AggregatorMetrics
from services.aggregator.partition import Dependencies, Partition
from services.backends.port import CounterStore, EventLog, Identity, LogConsumer
from services.runtime.clock import now_ms
from services.runtime.health import Health
from services.runtime.tracing import NO_TRACER, Tracer
from visits.errors import (
    LogUnavailableError,
    PartitionStoppedError,
    SettingsError,
    StoreUnavailableError,
    UnavailableError,
    VisitCounterError,
)
from visits.state import FOLD_VERSION, Meta, Parameters

FETCH_WAIT_SECONDS = 0.2
TOUCH_SECONDS = 1.0
NOTE_SECONDS = 5.0
IDENTITY_SECONDS = 30.0
"""How often an idle log is asked which log it is: a recreated topic is otherwise read on silently (DESIGN 3.2)."""
BACK_OFF_SECONDS = 0.5

log = structlog.get_logger()


class Aggregator:
    """Counts what the log holds, partition by partition, until it is told to stop."""

    def __init__(
        self,
        event_log: EventLog,
        store: CounterStore,
        parameters: Parameters,
        metrics: AggregatorMetrics,
        health: Health,
        dead_ratio_max: float,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Take opened backends; nothing happens before `run`."""
        self._log = event_log
        self._store = store
        self._parameters = parameters
        self._metrics = metrics
        self._health = health
        self._dead_ratio_max = dead_ratio_max
        self._tracer = tracer
        self._partitions: dict[int, Partition] = {}
        self._identity: Identity | None = None
        self._identity_at = 0.0
        self._housekeeping = Housekeeping(store, metrics)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End `run` after the batch in hand."""
        self._stopping.set()

    @property
    def positions(self) -> dict[int, int]:
        """How far each running partition is counted."""
        return {
            number: p.position for number, p in self._partitions.items() if p.position is not None
        }

    async def run(self) -> None:
        """Count until `stop`.

        Raises:
            SettingsError: the store was counted by other settings; nothing was changed.
        """
        consumer: LogConsumer | None = None
        touched_at = noted_at = 0.0
        try:
            while not self._stopping.is_set():
                try:
                    if consumer is None:
                        await self._hold_to_meta()
                        consumer = await self._log.consumer()
                    await self._step(consumer)
                    now = time.monotonic()
                    if now - touched_at >= TOUCH_SECONDS:
                        touched_at = now
                        await self._each(Partition.touch)
                    if now - noted_at >= NOTE_SECONDS:
                        noted_at = now
                        await consumer.note_position(self.positions)
                    await self._housekeeping.step(self.positions)
                except UnavailableError as error:
                    await self._back_off(error)
                except PartitionStoppedError as error:
                    # What stops no partition alone: the store's meta cannot be read.
                    for partition in self._partitions.values():
                        partition.stop(error)
                    await self._back_off(error)
                else:
                    self._health.clear("aggregator")
                    self._metrics.log_up.set(1)
                    self._metrics.store_up.set(1)
        finally:
            if consumer is not None:
                await consumer.note_position(self.positions)
                await consumer.close()

    async def _hold_to_meta(self) -> None:
        """Set the store's meta if there is none, and hold the configuration against it."""
        mine = Meta(
            self._store.schema,
            await self._log.log_id(),
            self._log.partitions,
            self._parameters.bucket_minutes,
            FOLD_VERSION,
        )
        stored = await self._store.put_meta(mine)
        if stored.schema != mine.schema:
            mend = (
                "upgrade visit-counter"
                if stored.schema > mine.schema
                else "run `visit-counter rebuild`"
            )
            msg = f"the store has schema {stored.schema}, this release knows {mine.schema}: {mend}"
            raise SettingsError(msg)
        for name in ("partitions", "bucket_minutes", "fold_version"):
            was, wants = getattr(stored, name), getattr(mine, name)
            if was != wants:
                mend = (
                    "their number is fixed for the life of a log; `visit-counter repartition` copies it into a new topic"
                    if name == "partitions" and stored.log_id == mine.log_id
                    else "set it back or run `visit-counter rebuild`"
                )
                msg = f"the store was counted with {name} = {was}, now it is {wants}: {mend}"
                raise SettingsError(msg)

    async def _step(self, consumer: LogConsumer) -> None:
        """Follow the assignment, locate what is not located, and count what has arrived."""
        self._follow_assignment(consumer)
        await self._locate()
        arrived = await consumer.fetch(FETCH_WAIT_SECONDS)
        if any(fetched.records for fetched in arrived):
            # What was fetched for a partition that this stops or moves is dropped by it.
            await self._ask_identity()
        # Side by side: while the store works for one partition, the process decides for another.
        taking = [
            self._guarded(partition, partition.take(fetched))
            for fetched in arrived
            if (partition := self._partitions.get(fetched.partition)) is not None
        ]
        for outcome in await asyncio.gather(*taking, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self._report()

    def _follow_assignment(self, consumer: LogConsumer) -> None:
        assigned = consumer.assigned
        for number in self._partitions.keys() - assigned:
            del self._partitions[number]
            self._metrics.forget(number)
            self._health.clear(f"partition {number}")
        for number in assigned:
            assignment = consumer.generation(number)
            known = self._partitions.get(number)
            if known is None or known.assignment != assignment:
                shared = Dependencies(
                    self._log,
                    self._store,
                    consumer,
                    self._parameters,
                    self._metrics,
                    self._dead_ratio_max,
                    now_ms,
                    self._tracer,
                )
                self._partitions[number] = Partition(number, assignment, shared)
                self._identity = None

    async def _locate(self) -> None:
        """Give every partition without a position one, and look now and then whether the log is still the same."""
        now = time.monotonic()
        if self._identity is None or now - self._identity_at >= IDENTITY_SECONDS:
            await self._ask_identity()
        waiting = [partition for partition in self._partitions.values() if partition.is_due]
        if not waiting:
            return
        identity = await self._ask_identity()
        if await self._store.meta() is None:
            await self._hold_to_meta()
        for partition in waiting:
            await self._guarded(partition, partition.locate(identity))

    async def _ask_identity(self) -> Identity:
        """Ask which log it is; partitions that were counted from another one stop, those with another leader find their place again.

        Asked after every fetch that brought records: a topic made anew that has outgrown the position, or a log that lost its tail
        and has grown again, would otherwise be counted under the old fence (`tests/model/`, rows I, J and M).
        """
        identity = self._identity = await self._log.identity()
        self._identity_at = time.monotonic()
        for partition in self._partitions.values():
            try:
                partition.hold_to(identity)
            except PartitionStoppedError as error:
                partition.stop(error)
        return identity

    async def _each(self, action: object) -> None:
        assert callable(action)
        for partition in list(self._partitions.values()):
            await self._guarded(partition, action(partition))

    async def _guarded(self, partition: Partition, work: object) -> None:
        """Let a partition stop without stopping the others; an unknown outcome makes it read its position again."""
        try:
            await work  # type: ignore[misc]  # any awaitable of a partition
        except PartitionStoppedError as error:
            partition.stop(error)
        except UnavailableError:
            partition.relocate()
            raise

    def _report(self) -> None:
        for number, partition in self._partitions.items():
            if partition.stopped is not None:
                self._health.obstruct(f"partition {number}", str(partition.stopped))
            elif not partition.is_running:
                self._health.obstruct(f"partition {number}", "reading its position")
            else:
                self._health.clear(f"partition {number}")

    async def _back_off(self, error: VisitCounterError) -> None:
        log.warning("waiting for log or store", reason=str(error))
        self._health.obstruct("aggregator", str(error))
        if isinstance(error, LogUnavailableError):
            self._metrics.log_up.set(0)
        elif isinstance(error, StoreUnavailableError):
            self._metrics.store_up.set(0)
        self._identity = None
        for partition in self._partitions.values():
            partition.relocate()
        try:
            await asyncio.wait_for(self._stopping.wait(), BACK_OFF_SECONDS)
        except TimeoutError:
            return
