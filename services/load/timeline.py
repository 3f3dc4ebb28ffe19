"""The figures over time: one row an interval, and all of it together."""

from __future__ import annotations

import math

from msgspec import Struct

from services.load.histogram import Histogram
from services.load.outcome import NO_ANSWER, Outcome, Verdict
from services.load.schedule import NANOSECONDS, Schedule

ROWS_MAX = 600
"""A longer run has longer intervals, so that rows and plot keep their size."""


class Row(Struct, frozen=True):
    """One interval.

    Attributes:
        second: where it begins, after the start.
        due: views that fell due in it.
        sent: views first sent in it.
        counted, refused, unknown: outcomes known in it.
        p50_ms, p99_ms, max_ms: latency of its answers from the moment they were due.
        in_flight: requests under way at its end.
        waiting: views due and not yet sent at its end.
    """

    second: int
    due: int
    sent: int
    counted: int
    refused: int
    unknown: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    in_flight: int
    waiting: int


class Timeline:
    """Takes samples as they come.

    Attributes:
        rows: the whole intervals so far.
        interval_seconds: their length.
        accepted: from the moment a view was due to the answer that it is counted.
        declined: from the moment it was due to any other answer, 503 among them; unanswered ones are in neither.
        serving: from send to answer, one try each.
        delay: from due to sent: what the generator, or its lack of free connections, added.
    """

    def __init__(self, schedule: Schedule) -> None:
        """Choose the length of the intervals for a schedule."""
        self._schedule = schedule
        seconds = schedule.duration_ns / NANOSECONDS
        self.interval_seconds = max(1, math.ceil(seconds / ROWS_MAX))
        self.rows: list[Row] = []
        self.accepted, self.declined = Histogram(), Histogram()
        self.serving, self.delay = Histogram(), Histogram()
        self._began_ns = self._row_ends_ns = 0
        self._due = self._sent = 0
        self._start()

    def begin(self, now_ns: int) -> None:
        """Set the start."""
        self._began_ns = now_ns
        self._row_ends_ns = now_ns + self.interval_seconds * NANOSECONDS

    def sent(self, delay_us: int) -> None:
        """Take note of a view sent for the first time."""
        self.delay.record(delay_us)

    def service(self, duration_us: int) -> None:
        """Take note of one answer."""
        self.serving.record(duration_us)

    def settled(self, outcome: Outcome, latency_us: int) -> None:
        """Take note of an outcome."""
        if outcome.verdict is Verdict.COUNTED:
            self._accepted.record(latency_us)
            return
        if outcome is not NO_ANSWER:
            self._declined.record(latency_us)
        if outcome.verdict is Verdict.REFUSED:
            self._refused += 1
        else:
            self._unknown += 1

    def advance(self, now_ns: int, in_flight: int, sent: int) -> None:
        """End the interval when its time is over."""
        if now_ns >= self._row_ends_ns:
            self._end_row(now_ns, in_flight, sent)
            self._row_ends_ns += self.interval_seconds * NANOSECONDS

    def finish(self, now_ns: int, sent: int) -> None:
        """End the last interval, if anything is in it."""
        if sent > self._sent or self._accepted.count or self._refused or self._unknown:
            self._end_row(now_ns, 0, sent)

    def _end_row(self, now_ns: int, in_flight: int, sent: int) -> None:
        due = self._schedule.due_by(now_ns - self._began_ns)
        answered = Histogram()
        answered.add(self._accepted)
        answered.add(self._declined)
        self.rows.append(
            Row(
                second=len(self.rows) * self.interval_seconds,
                due=due - self._due,
                sent=sent - self._sent,
                counted=self._accepted.count,
                refused=self._refused,
                unknown=self._unknown,
                p50_ms=answered.percentile_us(50) / 1000,
                p99_ms=answered.percentile_us(99) / 1000,
                max_ms=answered.max_us / 1000,
                in_flight=in_flight,
                waiting=due - sent,
            )
        )
        self._due, self._sent = due, sent
        self.accepted.add(self._accepted)
        self.declined.add(self._declined)
        self._start()

    def _start(self) -> None:
        self._accepted, self._declined = Histogram(), Histogram()
        self._refused = self._unknown = 0
