"""One run from beginning to end: check the site, read the books, send, wait until all is counted, close the books."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from services.load.balance import STANDSTILL_SECONDS_MAX, Balance, Sent, close, wait_counted
from services.load.generator import Generator
from services.load.outcome import Outcome, judge_view
from services.load.plan import Plan
from services.load.reader import Reader, check_is_test, own_differences, settled_totals
from services.load.result import (
    REACHED_SHARE,
    SCHEMA,
    Asked,
    Generating,
    Rate,
    Result,
    curve,
    percentiles,
)
from services.load.schedule import NANOSECONDS, Schedule
from services.load.target import parse_target
from services.load.visible import VisibleProbe
from services.load.workload import Workload
from widget import VERSION


class Run:
    """Carries out a plan; `execute` once.

    Attributes:
        generator: its figures may be looked at meanwhile.
        state: what it does, for people: `checking`, `sending`, `counting`.
        counted: by how much the service's views have grown, while it waits for the balance.
    """

    def __init__(self, plan: Plan) -> None:
        """Take a plan.

        Raises:
            SettingsError: an address in it is none.
        """
        self.plan = plan
        self.state = "checking"
        self.counted = 0
        self._reader = Reader(parse_target(plan.api_url or plan.url))
        self._workload: Workload = plan.workload()
        self._schedule = Schedule(plan.phases)
        self._sent = Sent()
        self._probe = VisibleProbe(self._reader, self._workload)
        self.generator = Generator(
            parse_target(plan.url),
            self._workload,
            self._schedule,
            plan.limits,
            judge_view,
            on_outcome=self._note_outcome,
        )

    @property
    def schedule(self) -> Schedule:
        """When views are due."""
        return self._schedule

    def stop(self) -> None:
        """Send no more; `execute` ends with the figures so far."""
        self.generator.stop()

    async def execute(self) -> Result:
        """Run, and return what was found.

        Raises:
            SettingsError: a site may not be loaded.
            UnavailableError: the service does not answer before the first view.
        """
        plan = self.plan
        for site in plan.site_names:
            await check_is_test(self._reader, site, plan.count_into)
        own_before = await own_differences(self._reader, plan.site_names)
        before = await settled_totals(self._reader, plan.site_names, STANDSTILL_SECONDS_MAX)
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.state = "sending"
        cpu_seconds = time.process_time()
        await self.generator.run()
        cpu_seconds = time.process_time() - cpu_seconds
        self.state = "counting"
        acknowledged = self._sent.acknowledged.total()
        after = await wait_counted(self._reader, before, acknowledged, self._note_counted)
        await self._probe.finish()
        own_after = await own_differences(self._reader, tuple(own_before))
        self._reader.close()
        grown = sum(max(0, n - own_before[site]) for site, n in own_after.items())
        balance = close(self._sent, before, after, grown)
        return self._result(started_at, cpu_seconds, balance)

    def _note_outcome(
        self, number: int, outcome: Outcome, _sent_ns: int, now_ns: int, body: bytes
    ) -> None:
        self._sent.note(self._workload.site(number), outcome)
        self._probe.see(number, outcome, now_ns, body)

    def _note_counted(self, counted: int) -> None:
        self.counted = counted

    def _result(self, started_at: str, cpu_seconds: float, balance: Balance) -> Result:
        plan, generator, timeline = self.plan, self.generator, self.generator.timeline
        return Result(
            schema=SCHEMA,
            version=VERSION,
            started_at=started_at,
            interrupted=generator.is_stopped,
            asked=_asked(plan, self._schedule),
            rate=_rate(generator, self._schedule, balance.acknowledged),
            latency=percentiles(timeline.accepted),
            service=percentiles(timeline.serving),
            declined=percentiles(timeline.declined),
            delay=percentiles(timeline.delay),
            visible=percentiles(self._probe.durations),
            statuses={str(status): n for status, n in sorted(generator.statuses.items())},
            errors=_errors(generator, self._probe),
            balance=balance,
            generator=_generating(generator, cpu_seconds),
            timeline=tuple(timeline.rows),
            latency_curve=curve(timeline.accepted),
            service_curve=curve(timeline.serving),
        )


def _asked(plan: Plan, schedule: Schedule) -> Asked:
    return Asked(
        url=plan.url,
        sites=plan.site_names,
        rate_per_second=plan.rate_per_second,
        seconds=plan.seconds,
        views=schedule.views,
        visitors=plan.visitors,
        pages=plan.pages,
        connections=plan.limits.connections,
        answer_seconds=plan.limits.answer_seconds,
        is_retrying=plan.limits.is_retrying,
        has_token=bool(plan.token),
        replayed_lines=len(plan.replay),
    )


def _rate(generator: Generator, schedule: Schedule, acknowledged: int) -> Rate:
    """Judge the rate over the schedule, or over the part of it that had passed when the run was stopped."""
    scheduled_ns, due = schedule.duration_ns, schedule.views
    if generator.is_stopped:
        scheduled_ns = min(scheduled_ns, max(1, generator.stop_ns - generator.began_ns))
        due = min(due, schedule.due_by(scheduled_ns))
    seconds = max(scheduled_ns, generator.ended_ns - generator.began_ns) / NANOSECONDS
    asked = due * NANOSECONDS / scheduled_ns
    reached = generator.sent / seconds
    return Rate(
        round(asked, 3),
        round(reached, 3),
        round(acknowledged / seconds, 3),
        reached >= REACHED_SHARE * asked,
    )


def _errors(generator: Generator, probe: VisibleProbe) -> dict[str, int]:
    found = dict(generator.errors)
    if probe.failed:
        found["not_visible"] = probe.failed
    return found


def _generating(generator: Generator, cpu_seconds: float) -> Generating:
    seconds = max(generator.ended_ns - generator.began_ns, 1) / NANOSECONDS
    return Generating(
        cpu_seconds=round(cpu_seconds, 3),
        cpu_share=round(cpu_seconds / seconds, 3),
        connections=generator.connections_opened,
        in_flight_max=generator.in_flight_max,
        repeats=generator.repeats,
        bytes_sent=generator.bytes_sent,
        bytes_received=generator.bytes_received,
    )
