"""One partition of the aggregator: where it stands, what comes next, and when it must stop.

The store says where to read from (DESIGN 3.2). A batch is decided from a state read in one atomic step with the fence; a fence
other than the batch's start drops the batch and the position is read from the store again. Nothing is counted outside of this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from msgspec import Struct

from services.aggregator.ahead import Ahead, Piece, until_sent
from services.aggregator.metrics import LOCATING, RUNNING, AggregatorMetrics
from services.backends.port import (
    Applied,
    CounterStore,
    EventLog,
    Fetched,
    Identity,
    LogConsumer,
    Miss,
)
from services.runtime.tracing import NO_TRACER, Tracer
from visits.codec import DecodedBatch, LogRecord, header_of
from visits.errors import PartitionStoppedError, SettingsError, StoppedState, VisitCounterError
from visits.fence import Fence, fingerprint
from visits.fold import fold
from visits.state import FOLD_VERSION, Batch, Head, Parameters

RETRY_SECONDS = 5.0
"""A stopped partition is tried again this often (DESIGN 3.2)."""

HEARD_MS = 3_000
"""While the log is silent for longer nobody knows whether all is counted, and the numbers grow old."""

DEAD_SEEN_MIN = 1_000
"""A share of unreadable records is judged from this many records on (DESIGN 3.2)."""

log = structlog.get_logger()


class Dependencies(Struct):
    """What every partition of a process shares."""

    log: EventLog
    store: CounterStore
    consumer: LogConsumer
    parameters: Parameters
    metrics: AggregatorMetrics
    dead_ratio_max: float
    now: Callable[[], int]
    tracer: Tracer = NO_TRACER


class Partition:
    """The state machine of one assigned partition: locating → running → (stopped →) locating.

    Attributes:
        number: which partition.
        assignment: the consumer's generation number this object belongs to.
        stopped: why it stands still, or `None`.
    """

    def __init__(self, number: int, assignment: int, shared: Dependencies) -> None:
        """Begin unlocated."""
        self.number = number
        self.assignment = assignment
        self.stopped: PartitionStoppedError | None = None
        self._shared = shared
        self._head: Head | None = None
        self._fence: Fence | None = None
        self._epoch = -1
        self._log_epoch: int | None = None
        self._must_verify = False
        self._gap_at: int | None = None
        self._end = 0
        self._heard_at = 0
        self._retry_at = 0.0
        self._seen = 0
        self._dead = 0
        self._page_fills: dict[str, float] = {}
        self._applying: tuple[Piece, Batch, asyncio.Future[Applied | Miss]] | None = None
        shared.metrics.show_state(number, LOCATING)

    @property
    def position(self) -> int | None:
        """The position up to which the store is known to be counted; `None` while locating."""
        return None if self._fence is None else self._fence.position

    @property
    def is_running(self) -> bool:
        """Claim that the position is known and records are taken."""
        return self._fence is not None

    @property
    def is_due(self) -> bool:
        """Claim that the position is to be read now: it is not known, and a stop is long enough ago."""
        return self._fence is None and time.monotonic() >= self._retry_at

    def relocate(self) -> None:
        """Forget the position: it is read from the store before anything else happens."""
        self._fence = None
        self._epoch = -1
        if self.stopped is None:
            self._shared.metrics.show_state(self.number, LOCATING)

    def stop(self, error: PartitionStoppedError) -> None:
        """Stand still and try again in `RETRY_SECONDS`; the other partitions go on."""
        if self.stopped is None or self.stopped.state is not error.state:
            log.error(
                "partition stopped",
                partition=self.number,
                state=str(error.state),
                detail=error.detail,
            )
        self.stopped = error
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self.relocate()
        self._shared.metrics.show_state(self.number, str(error.state))

    def hold_to(self, identity: Identity) -> None:
        """Hold what was fetched until now against the log's identity, asked after the fetch.

        Another leader may serve another history under the same log id: the place is found again, fingerprint and all.

        Raises:
            PartitionStoppedError: it is another log than the one this partition is counted from.
        """
        if self._fence is None:
            return
        if self._fence.log_id != identity.log_id:
            detail = f"the log was {self._fence.log_id}, now it is {identity.log_id}"
            raise PartitionStoppedError(StoppedState.WRONG_LOG, detail)
        epoch = identity.epochs.get(self.number)
        if epoch != self._log_epoch:
            log.info(
                "the log has another leader, finding the place again",
                partition=self.number,
                epoch_before=self._log_epoch,
                epoch=epoch,
            )
            self.relocate()

    async def locate(self, identity: Identity) -> None:
        """Read the position from the store, hold it against the log, and seek.

        Args:
            identity: the log's, asked just now.

        Raises:
            PartitionStoppedError: the log and the store do not belong together.
            SettingsError: the store was counted by other parameters.
            UnavailableError: log or store do not answer.
        """
        if not self.is_due:
            return
        shared = self._shared
        head = await shared.store.head(self.number)
        if head is None:
            head = await shared.store.begin(self.number, identity.log_id, shared.parameters)
        _check_parameters(head, shared.parameters)
        fence = head.fence
        if fence.log_id != identity.log_id:
            detail = f"partition {self.number} was counted from log {fence.log_id}, this is {identity.log_id}"
            raise PartitionStoppedError(StoppedState.WRONG_LOG, detail)
        extent = await shared.consumer.extent(self.number)
        if fence.position > extent.end:
            detail = f"partition {self.number} is counted to {fence.position}, the log ends at {extent.end}"
            raise PartitionStoppedError(StoppedState.LOG_BEHIND_STORE, detail)
        if fence.position < extent.begin:
            detail = f"partition {self.number} is counted to {fence.position}, the log begins at {extent.begin}"
            raise PartitionStoppedError(StoppedState.RETENTION_LOST, detail)
        self._must_verify = fence.position > extent.begin
        self._epoch = await shared.consumer.seek(self.number, fence.position - self._must_verify)
        self._head, self._fence, self._end = head, fence, extent.end
        self._heard_at = shared.now()
        self._log_epoch = identity.epochs.get(self.number)
        log.info(
            "partition located", partition=self.number, position=fence.position, end=extent.end
        )
        if not self._must_verify:
            self._go()

    async def take(self, fetched: Fetched) -> None:
        """Count what was fetched, or drop it if it belongs to an earlier seek.

        Raises:
            PartitionStoppedError: the partition cannot go on.
            UnavailableError: log or store do not answer; the outcome of the last apply is unknown.
        """
        if self._fence is None or fetched.epoch != self._epoch:
            return
        self._end, self._heard_at = max(fetched.end, self._fence.position), fetched.heard_at
        records = fetched.records
        if self._must_verify and records:
            records = self._verify(records, self._fence)
        if not records or self._must_verify:
            return
        if not self._is_dense(records, self._fence.position):
            return
        future = await self._count(records)
        if future is not None and self.is_running:
            detail = (
                f"partition {self.number}, position {future.position}: {header_of(future.value)}"
            )
            raise PartitionStoppedError(StoppedState.FUTURE_VERSION, detail)

    async def touch(self) -> None:
        """Say that the numbers hold for now, if nothing is left to count; notices a store that went back in time.

        Raises:
            UnavailableError: the store does not answer.
            PartitionStoppedError: `store_corrupt`.
        """
        if self._fence is None or self._head is None or self._must_verify:
            return
        metrics = self._shared.metrics
        now = self._shared.now()
        is_heard = now - self._heard_at <= HEARD_MS
        is_caught_up = is_heard and self._fence.position >= self._end
        metrics.lag_records.labels(str(self.number)).set(max(0, self._end - self._fence.position))
        as_of = now if is_caught_up else 0
        answer = await self._shared.store.touch(
            self.number, self._head.generation, self._fence, as_of
        )
        if not isinstance(answer, Applied):
            self._miss("touch", self._fence, answer.stored)
            return
        metrics.position.labels(str(self.number)).set(self._fence.position)
        if is_caught_up:
            metrics.lag_seconds.labels(str(self.number)).set(0)

    def _go(self) -> None:
        if self.stopped is not None:
            log.info("partition goes on", partition=self.number, after=str(self.stopped.state))
        self.stopped = None
        self._shared.metrics.show_state(self.number, RUNNING)

    def _verify(self, records: tuple[LogRecord, ...], fence: Fence) -> tuple[LogRecord, ...]:
        """Hold the record before the position against the fence's fingerprint; return the rest."""
        before = records[0]
        if before.position != fence.position - 1 or fingerprint(before) != fence.fingerprint:
            detail = f"partition {self.number}: the record at {before.position} is not the one that was counted"
            raise PartitionStoppedError(StoppedState.WRONG_LOG, detail)
        self._must_verify = False
        self._go()
        return records[1:]

    def _is_dense(self, records: tuple[LogRecord, ...], expected: int) -> bool:
        """Claim that no position is missing; the first time one is, read again, the second time stop."""
        gap = next(
            (want for want, record in enumerate(records, expected) if record.position != want), None
        )
        if gap is None:
            self._gap_at = None
            return True
        if self._gap_at == gap:
            detail = f"partition {self.number}: position {gap} is missing, the next one is {records[gap - expected].position}"
            raise PartitionStoppedError(StoppedState.LOG_GAP, detail)
        self._gap_at = gap
        self.relocate()
        return False

    async def _count(self, records: tuple[LogRecord, ...]) -> LogRecord | None:
        """Decide and apply records piece by piece; return the one that a newer release wrote, if that ends them.

        A piece is decided while the one before it is being applied, and offered once that is known to be applied.
        """
        assert self._head is not None
        assert self._fence is not None
        generation = self._head.generation
        ahead = Ahead(self._shared, self.number, generation, self._fence, records)
        try:
            while (piece := await ahead.next()) is not None:
                if piece.state is None:
                    await self._settle()
                    piece.span.end(outcome="missed")
                    self._missed("state", piece.stored, piece.decoded)
                    return None
                await self._bury(piece.decoded)
                began = time.perf_counter()
                batch = fold(piece.decoded, piece.state)
                self._shared.metrics.fold_seconds.observe(time.perf_counter() - began)
                ahead.decided(batch)
                if not await self._settle():
                    return None
                self._applying = (piece, batch, asyncio.ensure_future(self._apply(batch)))
                await until_sent()
            await self._settle()
        finally:
            await ahead.close()
            # An error came between: what is on its way is waited for, and the place is read again.
            with suppress(VisitCounterError):
                await self._settle()
        return ahead.future

    async def _bury(self, decoded: DecodedBatch) -> None:
        """Put what cannot be read among the dead letters, before the fence passes it."""
        if decoded.dead:
            self._check_dead(len(decoded.records) + len(decoded.dead), len(decoded.dead))
            await self._shared.log.bury(self.number, decoded.dead)

    async def _apply(self, batch: Batch) -> Applied | Miss:
        began = time.perf_counter()
        answer = await self._shared.store.apply(self.number, batch)
        self._shared.metrics.apply_seconds.observe(time.perf_counter() - began)
        return answer

    async def _settle(self) -> bool:
        """Wait for the batch on its way and move on; claim that nothing is in the way of the next one.

        Raises:
            StoreUnavailableError: the outcome is unknown.
            PartitionStoppedError: `store_corrupt`.
        """
        if self._applying is None:
            return True
        piece, batch, applying = self._applying
        decoded = piece.decoded
        self._applying = None
        try:
            answer = await applying
        except VisitCounterError as error:
            piece.span.end(error)
            raise
        if not isinstance(answer, Applied):
            piece.span.end(outcome="missed")
            self._missed("apply", answer.stored, decoded)
            return False
        piece.span.end(outcome="already" if answer.already else "applied")
        self._fence = batch.after
        self._seen += len(decoded.records) + len(decoded.dead)
        self._dead += len(decoded.dead)
        self._measure(decoded, "already" if answer.already else "applied")
        self._measure_room(batch)
        return True

    def _missed(self, kind: str, stored: Fence | None, decoded: DecodedBatch) -> None:
        taken = len(decoded.records) + len(decoded.dead)
        self._shared.metrics.applied.labels("missed").inc(taken)
        if self._fence is not None:
            self._miss(kind, self._fence, stored)

    def _check_dead(self, taken: int, dead: int) -> None:
        seen_all, dead_all = self._seen + taken, self._dead + dead
        if dead and seen_all >= DEAD_SEEN_MIN and dead_all > self._shared.dead_ratio_max * seen_all:
            detail = f"partition {self.number}: {dead_all} of {seen_all} records cannot be read"
            raise PartitionStoppedError(StoppedState.TOO_MANY_DEAD, detail)

    def _measure(self, decoded: DecodedBatch, outcome: str) -> None:
        metrics = self._shared.metrics
        assert self._fence is not None
        metrics.applied.labels(outcome).inc(len(decoded.records))
        metrics.applied.labels("dead").inc(len(decoded.dead))
        metrics.batch_records.observe(len(decoded.records) + len(decoded.dead))
        metrics.position.labels(str(self.number)).set(self._fence.position)
        metrics.lag_records.labels(str(self.number)).set(max(0, self._end - self._fence.position))
        if decoded.records:
            now = self._shared.now()
            metrics.freshness.observe(max(0, now - decoded.records[0].record.received) / 1000)
            metrics.lag_seconds.labels(str(self.number)).set(
                max(0, now - decoded.records[-1].record.received) / 1000
            )

    def _measure_room(self, batch: Batch) -> None:
        """Show how near the caps on pages and ids are; a batch tells of the sites it has views of."""
        parameters = batch.parameters
        for site, pages in batch.page_counts.items():
            self._page_fills[site] = min(1.0, pages / parameters.pages_max)
        metrics, label = self._shared.metrics, str(self.number)
        metrics.page_fill.labels(label).set(max(self._page_fills.values(), default=0))
        window = batch.log_time - batch.ids_known_after
        metrics.id_window_seconds.labels(label).set(min(window, parameters.id_window_ms) / 1000)

    def _miss(self, kind: str, expected: Fence, stored: Fence | None) -> None:
        self._shared.metrics.fence_misses.labels(kind).inc()
        log.warning(
            "store stands elsewhere, reading its position again",
            partition=self.number,
            kind=kind,
            expected=expected.position,
            stored=None if stored is None else stored.position,
        )
        self.relocate()


def _check_parameters(head: Head, configured: Parameters) -> None:
    """Hold the generation's parameters against the configuration.

    Raises:
        PartitionStoppedError: the store was counted by a newer fold.
        SettingsError: any other difference.
    """
    stored = head.parameters
    if stored.fold_version > FOLD_VERSION:
        detail = f"the store was counted by fold version {stored.fold_version}, this release has {FOLD_VERSION}"
        raise PartitionStoppedError(StoppedState.FUTURE_VERSION, detail)
    for name in stored.__struct_fields__:
        was, wants = getattr(stored, name), getattr(configured, name)
        if was != wants:
            msg = f"the store was counted with {name} = {was}, the configuration says {wants}: set it back or run `visit-counter rebuild`"
            raise SettingsError(msg)
