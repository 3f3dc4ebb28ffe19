"""The open loop: every request is sent when the schedule says, whether or not those before it were answered.

A request that is due while no connection is free waits here, and its latency counts from the moment it was due: a stall of the service
makes all that was due meanwhile late, as it would for people ("coordinated omission" is not taking these into account).
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from time import monotonic_ns

from msgspec import Struct

from services.load.connection import IDLE_NS_MAX, Connection, connect
from services.load.outcome import NO_ANSWER, Outcome, Verdict
from services.load.schedule import NANOSECONDS, Schedule
from services.load.target import Target
from services.load.timeline import Timeline
from services.load.workload import Workload

TICK_SECONDS = 0.001
"""How often the schedule is looked at; answers that come meanwhile look too."""

OPENING_MAX = 32
"""How many connections are opened at once."""

RECONNECT_SECONDS = 0.1
SWEEP_SECONDS = 0.1
RETRY_SECONDS_MAX = 90.0
"""How long after it was due a view is repeated."""

REPEATS_MAX = 200_000
"""How many views wait to be repeated; the outcome of further ones stays unknown."""

PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 1.0
"""Between two tries of one view: doubled each time up to the greater."""


class Limits(Struct, frozen=True):
    """What bounds a run.

    Attributes:
        connections: open at once; as many requests are under way at most.
        answer_seconds: how long an answer is waited for.
        late_seconds: how long after the end of the schedule requests are sent that were due before.
        is_retrying: unknown outcomes are repeated with the same id.
    """

    connections: int = 256
    answer_seconds: float = 10.0
    late_seconds: float = 5.0
    is_retrying: bool = False


class Generator:
    """Sends a workload by a schedule, once, and keeps the figures in `timeline` and in these.

    Attributes:
        sent: requests that were sent at least once.
        outcomes: what became of them.
        statuses: HTTP status → answers, repeats included.
        errors: why there was no answer → how often; `connect` are connections that could not be had.
        repeats: how many sends were repeats.
        in_flight_max: the most requests under way at once.
        began_ns, ended_ns: start of the schedule, and when the last request was first sent (monotonic).
        is_stopped: it was told to stop before its end.
    """

    def __init__(  # where all pieces meet, called in two places
        self,
        target: Target,
        workload: Workload,
        schedule: Schedule,
        limits: Limits,
        judge: Callable[[int, bytes], Outcome],
        *,
        on_outcome: Callable[[int, Outcome, int, int, bytes], None] | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            target: where to.
            workload: what.
            schedule: when.
            limits: the bounds.
            judge: says what an answer's status and body mean.
            on_outcome: hears number, outcome, when it was last sent and answered (monotonic nanoseconds), and body of each final outcome.
        """
        self._target = target
        self._workload = workload
        self._schedule = schedule
        self._limits = limits
        self._judge = judge
        self._on_outcome = on_outcome
        self.timeline = Timeline(schedule)
        self.sent = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.repeats = 0
        self.in_flight_max = 0
        self.connections_opened = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.is_stopped = False
        self.began_ns = 0
        self.ended_ns = 0
        self._next_due_ns = 0
        self.stop_ns = 0
        self._free: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening = 0
        self._reconnect_ns = 0
        self._repeats: list[tuple[int, int, int]] = []
        self._tries: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_ended = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return len(self._open) - len(self._free)

    @property
    def unfinished(self) -> int:
        """How many sent requests have no outcome yet."""
        return self.sent - self.outcomes.total()

    def stop(self) -> None:
        """Send nothing new and repeat nothing; what is under way is still waited for."""
        self.is_stopped = True
        self.stop_ns = min(self.stop_ns, monotonic_ns())

    async def run(self) -> None:
        """Send everything; returns when each request that was sent has its outcome."""
        await self._open_some(min(self._limits.connections, OPENING_MAX))
        self.began_ns = self.ended_ns = monotonic_ns()
        self.timeline.begin(self.began_ns)
        self._next_due_ns = self.began_ns + self._schedule.due_ns(0)
        end_ns = self.began_ns + self._schedule.duration_ns
        late_ns = round(self._limits.late_seconds * NANOSECONDS)
        self.stop_ns = self.began_ns if self.is_stopped else end_ns + late_ns
        sweep_ns = 0
        while True:
            now = monotonic_ns()
            self._pump(now)
            self.timeline.advance(now, self.in_flight, self.sent)
            if now >= sweep_ns:
                sweep_ns = now + round(SWEEP_SECONDS * NANOSECONDS)
                self._sweep(now)
                if self._is_over(now):
                    break
            await asyncio.sleep(TICK_SECONDS)
        self.timeline.finish(monotonic_ns(), self.sent)
        await self._close()

    def _is_over(self, now: int) -> bool:
        is_all_sent = self.sent >= self._schedule.views and now >= (
            self.began_ns + self._schedule.duration_ns
        )
        return (is_all_sent or now >= self.stop_ns) and self.unfinished == 0

    def _pump(self, now: int) -> None:
        """Send what is due, repeats first."""
        while self._repeats and self._repeats[0][0] <= now:
            connection = self._take(now)
            if connection is None:
                return
            _, number, due_ns = heapq.heappop(self._repeats)
            self.repeats += 1
            connection.send(number, due_ns, now, self._workload.request(number))
        if now >= self.stop_ns:
            return
        while self._next_due_ns <= now and self.sent < self._schedule.views:
            connection = self._take(now)
            if connection is None:
                return
            number = self.sent
            self.sent += 1
            self.ended_ns = now
            connection.send(number, self._next_due_ns, now, self._workload.request(number))
            self.timeline.sent((now - self._next_due_ns) // 1000)
            self._next_due_ns = self.began_ns + self._schedule.due_ns(self.sent)

    def _take(self, now: int) -> Connection | None:
        """Return a free connection, or see to it that there will be one."""
        while self._free:
            connection = self._free.pop()
            if now - connection.sent_ns < IDLE_NS_MAX:
                self.in_flight_max = max(self.in_flight_max, self.in_flight)
                return connection
            self._open.discard(connection)
            connection.end("idle")
        room = self._limits.connections - len(self._open) - self._opening
        if room > 0 and self._opening < OPENING_MAX and now >= self._reconnect_ns:
            self._opening += 1
            task = asyncio.ensure_future(self._open_one())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return None

    async def _open_some(self, count: int) -> None:
        self._opening += count
        await asyncio.gather(*(self._open_one() for _ in range(count)))

    async def _open_one(self) -> None:
        """Open a connection that was counted as being opened."""
        try:
            connection = await connect(self._target, self._answered, self._ended)
        except OSError:
            self.errors["connect"] += 1
            self._reconnect_ns = monotonic_ns() + round(RECONNECT_SECONDS * NANOSECONDS)
            return
        finally:
            self._opening -= 1
        connection.sent_ns = monotonic_ns()
        self.connections_opened += 1
        self._open.add(connection)
        self._free.append(connection)

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        """Take an answer, and use the occasion to send what is due."""
        now = monotonic_ns()
        number, due_ns, sent_ns = connection.number, connection.due_ns, connection.sent_ns
        self.statuses[status] += 1
        outcome = self._judge(status, body)
        self.timeline.service((now - sent_ns) // 1000)
        connection.number = -1
        connection.sent_ns = now
        if connection.is_reusable:
            self._free.append(connection)
        else:
            self._open.discard(connection)
        self._settle(number, due_ns, outcome, sent_ns, now, body)
        if self._next_due_ns <= now:
            self._pump(now)

    def _ended(self, connection: Connection, why: str) -> None:
        """Forget a connection; a request under way on it has no answer."""
        self.bytes_sent += connection.bytes_sent
        self.bytes_received += connection.bytes_received
        if connection in self._open:
            self._open.remove(connection)
            if not connection.is_busy:
                self._free.remove(connection)
        if not self._open:
            self._all_ended.set()
        if connection.is_busy:
            self.errors[why] += 1
            number, connection.number = connection.number, -1
            self._settle(
                number, connection.due_ns, NO_ANSWER, connection.sent_ns, monotonic_ns(), b""
            )

    def _settle(
        self, number: int, due_ns: int, outcome: Outcome, sent_ns: int, now: int, body: bytes
    ) -> None:
        """Book an outcome, or plan the next try of an unknown one."""
        if outcome.verdict is Verdict.UNKNOWN and self._plan_repeat(number, due_ns, now):
            return
        self._tries.pop(number, None)
        self.outcomes[outcome] += 1
        self.timeline.settled(outcome, (now - due_ns) // 1000)
        if self._on_outcome is not None:
            self._on_outcome(number, outcome, sent_ns, now, body)

    def _plan_repeat(self, number: int, due_ns: int, now: int) -> bool:
        """Return whether an unknown outcome is tried again."""
        if not self._limits.is_retrying or self.is_stopped or len(self._repeats) >= REPEATS_MAX:
            return False
        if now - due_ns > RETRY_SECONDS_MAX * NANOSECONDS:
            return False
        tries = self._tries[number] = self._tries.get(number, 0) + 1
        pause = min(PAUSE_SECONDS_MIN * 2 ** (tries - 1), PAUSE_SECONDS_MAX)
        heapq.heappush(self._repeats, (now + round(pause * NANOSECONDS), number, due_ns))
        return True

    def _sweep(self, now: int) -> None:
        """Give up answers that take too long, and repeats that found no connection in time."""
        oldest = now - round(self._limits.answer_seconds * NANOSECONDS)
        for connection in list(self._open):
            if connection.is_busy and connection.sent_ns < oldest:
                connection.end("timeout")
        retry_ns = round(RETRY_SECONDS_MAX * NANOSECONDS)
        while self._repeats and (self.is_stopped or now - self._repeats[0][2] > retry_ns):
            _, number, due_ns = heapq.heappop(self._repeats)
            self._settle(number, due_ns, NO_ANSWER, now, now, b"")

    async def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._all_ended.clear()
        for connection in list(self._open):
            connection.end("done")
        if self._open:
            await self._all_ended.wait()
