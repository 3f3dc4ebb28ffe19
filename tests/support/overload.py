"""More views than the log takes: a schedule that waits for nothing, and what became of every view."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from services.load.generator import Generator, Limits
from services.load.outcome import Outcome, Verdict, judge_view
from services.load.result import Percentiles, percentiles
from services.load.schedule import NANOSECONDS, Phase, Schedule
from services.load.target import parse_target
from services.load.workload import Views
from tests.support.visit_counter import Service

QUOTA_BYTES_PER_SECOND = 20_000
"""What the broker lets its writers send: some 400 views a second, compressed."""


@dataclass
class Answers:
    """What became of every view.

    Attributes:
        acknowledged: numbers of the views that were answered 202.
        not_taken: milliseconds from sending each of those that were refused before they waited.
        given_up: numbers of those that waited in vain, or whose outcome is unknown.
        waiting: records waiting in ingest, looked at now and then.
        resident_bytes: memory of ingest, likewise.
        delay: how late the generator itself was.
    """

    schedule: Schedule
    acknowledged: list[int] = field(default_factory=list)
    not_taken: list[float] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)
    delay: Percentiles | None = None

    def hear(
        self, number: int, outcome: Outcome, sent_ns: int, answered_ns: int, body: bytes
    ) -> None:
        """Book one outcome."""
        if outcome.verdict is Verdict.COUNTED:
            self.acknowledged.append(number)
        elif b"too many views wait" in body or b"does not acknowledge" in body:
            self.not_taken.append((answered_ns - sent_ns) / 1e6)
        else:
            self.given_up.append(number)

    def acknowledged_of(self, begin_seconds: float, end_seconds: float) -> int:
        """Return how many were acknowledged of those due in a span of the schedule."""
        first, last = (
            self.schedule.due_by(round(at * NANOSECONDS)) for at in (begin_seconds, end_seconds)
        )
        return sum(first <= number < last for number in self.acknowledged)

    def told(self) -> str:
        """Return one line of figures for people."""
        refused = sorted(self.not_taken)
        at = [refused[int(share * (len(refused) - 1))] for share in (0.5, 0.99, 1.0)]
        return (
            f"{self.schedule.views} views sent, {len(self.acknowledged)} acknowledged, {len(refused)} refused at once "
            f"(p50 {at[0]:.1f} ms, p99 {at[1]:.1f} ms, longest {at[2]:.1f} ms), {len(self.given_up)} waited in vain; "
            f"waiting at most {max(self.waiting)}, ingest's memory at most {max(self.resident_bytes) / 2**20:.0f} MiB; "
            f"the generator itself was late by {self.delay}"
        )


async def overload(ingest: Service, site: str, phases: list[Phase], run: str) -> Answers:
    """Send views by a schedule that waits for nothing, and look at ingest meanwhile."""
    target, schedule = parse_target(ingest.base_url), Schedule(phases)
    workload = Views(target, [site], run=run, visitors=5_000, pages=50)
    answers = Answers(schedule)
    generator = Generator(
        target, workload, schedule, Limits(connections=2_000), judge_view, on_outcome=answers.hear
    )

    async def look() -> None:
        while True:
            answers.waiting.append(
                int(await asyncio.to_thread(ingest.metric, "visit_counter_in_flight"))
            )
            answers.resident_bytes.append(ingest.resident_bytes())
            await asyncio.sleep(0.25)

    looking = asyncio.create_task(look())
    await generator.run()
    looking.cancel()
    answers.delay = percentiles(generator.timeline.delay)
    return answers
