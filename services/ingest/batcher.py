"""Waiting requests share a batch: one bounded queue and one task a partition, one append in flight (DESIGN 3.4).

A waiter learns its position only after the log acknowledged the batch. What is past its deadline leaves the queue unsent; what is
in flight by then has an unknown outcome, and its sender tries again with the same id.

What cannot be acknowledged in time is refused at once and not after a wait: a queue may grow to what a slow log takes in a second,
and while an append is overdue nobody joins. So a log that is overloaded still works at its full rate, and one that is away costs
its senders a wait once, not each time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

import structlog

from services.backends.port import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from services.ingest.appending import Appender
from visits.errors import LogUnavailableError, UnavailableError

WAITERS_MAX = 20_000
"""Records that may wait in a process; about one second of its work (DESIGN 6)."""

DEADLINE_SECONDS = 2.0
"""How long a sender waits for the log (DESIGN 3.4)."""

LINGER_SECONDS = 0.002
"""How long an idle partition waits for company before its first append (DESIGN 3.4)."""

COMPANY_MIN = 16
"""That many end the wait, or half as many as the batch before had if that is more: the other half is taken while these are under way."""

SWEEP_SECONDS = 0.1
"""How often deadlines are looked at: one timer for all waiters."""

OVERDUE_SECONDS = 1.0
"""While an append takes longer than this, half a deadline, nobody joins its queue."""

SLOW_SECONDS = 0.1
"""An append that takes longer is paced by the log and not by what there was to send: usual are 2 to 20 ms."""

ROOM_SECONDS = 1.0
"""How much of a slow log's work may wait for it: half in flight, half behind, all of it well within the deadline."""

ROOM_MIN = 200
"""Records that may wait for a partition however slow: one late append of a few must not turn a burst away."""

Settle = Callable[[int | None, LogUnavailableError | None], None]
"""Hears once what became of a record: its position (`None` where the log did not tell), or the error."""

OnOutcome = Callable[[int, UnavailableError | None], None]

Measure = Callable[[int, float, float], None]
"""Hears of every acknowledged append: its records, its seconds, and for how many its oldest record had waited in all."""

log = structlog.get_logger()


class NotTakenError(LogUnavailableError):
    """The record was never sent to the log: here the outcome is known."""


class _Waiter:
    """A record that waits."""

    __slots__ = ("deadline", "key", "settle", "value")

    def __init__(self, key: bytes, value: bytes, settle: Settle, deadline: float) -> None:
        self.key = key
        self.value = value
        self.settle: Settle | None = settle
        self.deadline = deadline

    def tell(self, position: int | None, error: LogUnavailableError | None) -> None:
        """Say what became of the record, unless it was said already."""
        settle, self.settle = self.settle, None
        if settle is None:
            return
        try:
            settle(position, error)
        except Exception:  # one waiter's mistake is not to be the whole batch's
            log.exception("an outcome could not be told")


class Batcher:
    """Appends records to the log, many at a time."""

    def __init__(
        self,
        event_log: Appender,
        on_outcome: OnOutcome = lambda _partition, _error: None,
        *,
        measure: Measure = lambda _records, _seconds, _waited: None,
        waiters_max: int = WAITERS_MAX,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        """Append to `event_log`; `on_outcome` hears of every append: its partition, and `None` or its error."""
        self._measure = measure
        self._log = event_log
        self._on_outcome = on_outcome
        self._waiters_max = waiters_max
        self._deadline_seconds = deadline_seconds
        self._lanes: dict[int, _Lane] = {}
        self._waiters = _Waiters()
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many records wait, in queues and in flight."""
        return self._waiters.count

    def submit(self, partition: int, key: bytes, value: bytes) -> asyncio.Future[int | None]:
        """Queue one record; must be called within the event loop.

        Returns:
            Its position once it is durable, `None` where the log did not tell, or `LogUnavailableError` after at most
            `deadline_seconds`, the outcome then being unknown.

        Raises:
            NotTakenError: the log cannot take it in time.
        """
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        def settle(position: int | None, error: LogUnavailableError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(position)
            else:
                future.set_exception(error)

        self.put(partition, key, value, settle)
        return future

    def put(self, partition: int, key: bytes, value: bytes, settle: Settle) -> None:
        """Queue one record as `submit` does, and call `settle` instead of resolving a future, which costs more.

        Raises:
            NotTakenError: the log cannot take it in time.
        """
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane(
                self._log, partition, self._on_outcome, self._measured, self._waiters
            )
        now = monotonic()
        if self._waiters.count >= self._waiters_max or lane.is_full:
            raise NotTakenError("too many views wait for the log already; not taken")
        if lane.is_overdue(now):
            raise NotTakenError("the log does not acknowledge; not taken")
        lane.add(_Waiter(key, value, settle, now + self._deadline_seconds))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._on_sweep)

    async def drain(self) -> None:
        """Return once nothing waits any more; deadlines bound it."""
        while self.waiting:  # noqa: ASYNC110  # polled for at most some seconds, once in a process's life
            await asyncio.sleep(LINGER_SECONDS)

    async def close(self) -> None:
        """End the tasks; who still waits is told that the outcome is unknown."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for lane in self._lanes.values():
            await lane.close()
        self._lanes.clear()

    def _measured(self, records: int, began: float, oldest_deadline: float) -> None:
        now = monotonic()
        waited = now - oldest_deadline + self._deadline_seconds
        self._measure(records, now - began, waited)

    def _on_sweep(self) -> None:
        now = monotonic()
        for lane in self._lanes.values():
            lane.expire(now)
        self._sweep = (
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._on_sweep)
            if self.waiting
            else None
        )


class _Waiters:
    """How many records wait in all lanes together."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class _Lane:
    """The queue of one partition and the task that empties it."""

    def __init__(
        self,
        event_log: Appender,
        partition: int,
        on_outcome: OnOutcome,
        measured: Measure,
        waiters: _Waiters,
    ) -> None:
        self._log = event_log
        self._partition = partition
        self._on_outcome = on_outcome
        self._measured = measured
        self._waiters = waiters
        self._queue: deque[_Waiter] = deque()
        self._in_flight: list[_Waiter] = []
        self._append_began: float | None = None
        self._room = WAITERS_MAX
        self._wanted = 1
        self._company = COMPANY_MIN
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"batcher-{partition}")

    @property
    def is_full(self) -> bool:
        """Claim that one more would wait longer than the log needs for what it is given time for."""
        return len(self._queue) + len(self._in_flight) >= self._room

    def is_overdue(self, now: float) -> bool:
        """Claim that the log has not acknowledged for so long that joining the queue is in vain."""
        return self._append_began is not None and now - self._append_began > OVERDUE_SECONDS

    def add(self, waiter: _Waiter) -> None:
        self._queue.append(waiter)
        self._waiters.count += 1
        if len(self._queue) >= self._wanted:
            self._news.set()

    def expire(self, now: float) -> None:
        """Give up what is past its deadline: unsent where it still waits, unknown where it is in flight."""
        while self._queue and self._queue[0].deadline <= now:
            self._waiters.count -= 1
            self._queue.popleft().tell(None, NotTakenError("the log is too slow; not taken"))
        for waiter in self._in_flight:
            if waiter.deadline > now:
                break
            waiter.tell(None, LogUnavailableError("the log did not acknowledge in time"))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for waiter in self._in_flight:
            waiter.tell(None, LogUnavailableError("this process is stopping"))
        for waiter in self._queue:
            waiter.tell(None, NotTakenError("this process is stopping; not taken"))
        self._waiters.count -= len(self._in_flight) + len(self._queue)
        self._in_flight = []
        self._queue.clear()

    async def _run(self) -> None:
        while True:
            if not self._queue:
                await self._gather()
            self._in_flight = self._take()
            if self._in_flight:
                self._append_began = monotonic()
                is_acknowledged = await self._append()
                if is_acknowledged:
                    oldest = self._in_flight[0].deadline
                    self._measured(len(self._in_flight), self._append_began, oldest)
                self._pace(monotonic() - self._append_began, is_acknowledged=is_acknowledged)
                self._append_began = None
                self._waiters.count -= len(self._in_flight)
                self._company = max(COMPANY_MIN, len(self._in_flight) // 2)
                self._in_flight = []

    async def _gather(self) -> None:
        """Wait for a first record, and then for company: a while at most."""
        self._wanted = 1
        self._news.clear()
        await self._news.wait()
        self._wanted = self._company
        if len(self._queue) < self._wanted:
            self._news.clear()
            timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._news.set)
            await self._news.wait()
            timer.cancel()

    def _pace(self, seconds: float, *, is_acknowledged: bool) -> None:
        """Make room for what the log takes in `ROOM_SECONDS`, judged by the batch in hand that took `seconds`."""
        if not is_acknowledged:
            self._room = ROOM_MIN
        elif seconds > SLOW_SECONDS:
            rate = len(self._in_flight) / seconds
            self._room = max(ROOM_MIN, min(WAITERS_MAX, int(rate * ROOM_SECONDS)))
        else:
            # Doubled and not given free: a log that throttles its writers answers fast now and then.
            self._room = min(WAITERS_MAX, 2 * self._room)

    def _take(self) -> list[_Waiter]:
        """Take the next batch off the queue: all that waits, within the log's limits."""
        taken: list[_Waiter] = []
        size = 0
        records_max = min(BATCH_RECORDS_MAX, self._room // 2)
        while self._queue and len(taken) < records_max:
            waiter = self._queue[0]
            size += len(waiter.value)
            if taken and size > BATCH_BYTES_MAX:
                break
            taken.append(self._queue.popleft())
        return taken

    async def _append(self) -> bool:
        """Append the batch in hand and tell its waiters; claim that the log has it."""
        records = [(waiter.key, waiter.value) for waiter in self._in_flight]
        try:
            first = await self._log.append(self._partition, records)
        except UnavailableError as error:
            self._give_up(error)
        except Exception as error:  # whatever an adapter does, the next batch gets its chance
            log.exception("an append failed unexpectedly", partition=self._partition)
            self._give_up(LogUnavailableError(type(error).__name__))
        else:
            self._on_outcome(self._partition, None)
            for index, waiter in enumerate(self._in_flight):
                waiter.tell(None if first is None else first + index, None)
            return True
        return False

    def _give_up(self, error: UnavailableError) -> None:
        self._on_outcome(self._partition, error)
        for waiter in self._in_flight:
            waiter.tell(None, LogUnavailableError("the log did not acknowledge"))
