"""Ten times what the log takes: the excess is refused before it waits, the rest is taken at full rate, each acknowledged view once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.cli.option import configuration
from services.load.generator import Generator, Limits
from services.load.outcome import Outcome, Verdict, judge_view
from services.load.result import Percentiles, percentiles
from services.load.schedule import NANOSECONDS, Phase, Schedule
from services.load.target import parse_target
from services.load.workload import Views
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.truth import compare, kafka_values, wait_counted
from tests.support.visit_counter import Service, write_config

SITE = "thanhxuan"
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}

QUOTA_BYTES_PER_SECOND = 20_000
"""What the broker lets its writers send: some 400 views a second, compressed."""

CALM_RATE, OVERLOAD_RATE = 100.0, 5_000.0
CALM_SECONDS, OVERLOAD_SECONDS = 4.0, 10.0
RECOVERY_SECONDS = 2.0
"""Of the calm after the overload, in which a queue may still be worked off."""

WAITING_MAX = 4_000
MEMORY_BYTES_MAX = 256 * 2**20


@dataclass
class Answers:
    """What became of every view.

    Attributes:
        acknowledged: numbers of the views that were answered 202.
        not_taken: number → milliseconds until it was refused before it waited.
        given_up: numbers of those that waited in vain, or whose outcome is unknown.
        waiting: records waiting in ingest, looked at now and then.
        resident_bytes: memory of ingest, likewise.
        began_ns: when the schedule began.
        delay: how late the generator itself was.
    """

    schedule: Schedule
    acknowledged: list[int] = field(default_factory=list)
    not_taken: dict[int, float] = field(default_factory=dict)
    given_up: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)
    began_ns: int = 0
    delay: Percentiles | None = None

    def hear(self, number: int, outcome: Outcome, moment_ns: int, body: bytes) -> None:
        """Book one outcome."""
        if outcome.verdict is Verdict.COUNTED:
            self.acknowledged.append(number)
        elif b"too many views wait" in body or b"does not acknowledge" in body:
            due_ns = self.began_ns + self.schedule.due_ns(number)
            self.not_taken[number] = (moment_ns - due_ns) / 1e6
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
        refused = sorted(self.not_taken.values())
        at = [refused[int(share * (len(refused) - 1))] for share in (0.5, 0.99, 1.0)]
        return (
            f"{self.schedule.views} views sent, {len(self.acknowledged)} acknowledged, {len(refused)} refused at once "
            f"(p50 {at[0]:.1f} ms, p99 {at[1]:.1f} ms, longest {at[2]:.1f} ms), {len(self.given_up)} waited in vain; "
            f"waiting at most {max(self.waiting)}, ingest's memory at most {max(self.resident_bytes) / 2**20:.0f} MiB; "
            f"the generator's own delay within these: {self.delay}"
        )


async def send(ingest: Service, phases: list[Phase], run: str) -> Answers:
    """Send views by a schedule that waits for nothing, and look at ingest meanwhile."""
    target, schedule = parse_target(ingest.base_url), Schedule(phases)
    workload = Views(target, [SITE], run=run, visitors=5_000, pages=50)
    answers = Answers(schedule)
    generator = Generator(
        target, workload, schedule, Limits(connections=2_000), judge_view, on_outcome=answers.hear
    )

    async def look() -> None:
        while True:
            answers.began_ns = generator.began_ns or answers.began_ns
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


@pytest.fixture
def slow_kafka(kafka_own: KafkaCluster) -> KafkaCluster:
    """A broker that lets its writers send so much and no more."""
    kafka_own.limit_writers(QUOTA_BYTES_PER_SECOND)
    return kafka_own


async def test_ten_times_what_the_log_takes(
    tmp_path: Path,
    start_service: StartService,
    slow_kafka: KafkaCluster,
    redis_server: RedisServer,
    topic: str,
) -> None:
    """The queue stays short, what it takes is acknowledged in time, and nothing collapses."""
    config = write_config(
        tmp_path / "visit-counter.toml",
        slow_kafka.url(topic),
        redis_server.url,
        {SITE: {}},
        server=SERVER,
        log={"partitions": 1, "session_timeout_seconds": 6},
    )
    ingest = start_service("ingest", config)
    start_service("aggregator", config)
    calm = Phase(CALM_RATE, CALM_SECONDS)
    answers = await send(
        ingest, [calm, Phase(OVERLOAD_RATE, OVERLOAD_SECONDS), calm], run=f"over{time.time_ns()}"
    )
    print(answers.told())
    end = CALM_SECONDS + OVERLOAD_SECONDS
    before = answers.acknowledged_of(0, CALM_SECONDS)
    during = answers.acknowledged_of(CALM_SECONDS, end)
    after = answers.acknowledged_of(end + RECOVERY_SECONDS, end + CALM_SECONDS)
    print(f"acknowledged before {before}, during {during}, after {after}")
    assert max(answers.waiting) < WAITING_MAX
    assert max(answers.resident_bytes) < MEMORY_BYTES_MAX
    # Its last tallies are in the log then, and the log is at its end.
    await asyncio.to_thread(ingest.terminate)
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        values = await kafka_values(slow_kafka.bootstrap, topic, 0)
        await wait_counted(backends, {0: len(values)})
        counted = (await compare(backends, {0: values}))[SITE]
        numbers = {int(event_id.rpartition("-")[2]) for event_id in counted.ids}
        assert set(answers.acknowledged) <= numbers
        assert numbers <= {*answers.acknowledged, *answers.given_up}
    finally:
        await backends.close()
    assert before > 0.9 * CALM_RATE * CALM_SECONDS
    assert during > CALM_RATE * OVERLOAD_SECONDS, "less was taken under overload than before it"
    assert after > 0.9 * CALM_RATE * (CALM_SECONDS - RECOVERY_SECONDS)
    assert len(answers.not_taken) > 0.75 * OVERLOAD_RATE * OVERLOAD_SECONDS
    assert len(answers.given_up) < 0.1 * answers.schedule.views
