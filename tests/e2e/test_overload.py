"""Ten times what the log takes: the excess is refused before it waits, the rest is taken at full rate, each acknowledged view once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from services.cli.option import configuration
from services.load.schedule import Phase
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.overload import QUOTA_BYTES_PER_SECOND, overload
from tests.support.redis import RedisServer
from tests.support.truth import compare, kafka_values, wait_counted
from tests.support.visit_counter import write_config

SITE = "thanhxuan"
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}

CALM_RATE, OVERLOAD_RATE = 100.0, 5_000.0
CALM_SECONDS, OVERLOAD_SECONDS = 4.0, 10.0
RECOVERY_SECONDS = 2.0
"""Of the calm after the overload, in which a queue may still be worked off."""

WAITING_MAX = 4_000
MEMORY_BYTES_MAX = 256 * 2**20


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
    answers = await overload(
        ingest,
        SITE,
        [calm, Phase(OVERLOAD_RATE, OVERLOAD_SECONDS), calm],
        run=f"over{time.time_ns()}",
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
