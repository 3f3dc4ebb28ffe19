"""Two aggregators on one partition, and rebalances under load: exact."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.e2e.test_rollback import PARTITIONS, SITES, check_exact, write
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.visit_counter import write_config

REBALANCES = 20


@pytest.fixture
def config(tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer, topic: str) -> Path:
    return write_config(
        tmp_path / "visit-counter.toml",
        f"kafka://{kafka.bootstrap}/{topic}",
        redis_server.url,
        SITES,
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )


async def test_a_paused_aggregator_that_comes_back_changes_nothing(
    config: Path, kafka: KafkaCluster, topic: str, start_service: StartService
) -> None:
    """SIGSTOP past the session time-out, another takes over, SIGCONT: the zombie's batches miss the fence."""
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        first = start_service("aggregator", config)
        await write(backends, 0, 500)
        await asyncio.sleep(0.05)
        first.pause()
        second = start_service("aggregator", config)
        await write(backends, 500, 500)
        await check_exact(backends, kafka, topic, 4000)
        writing = asyncio.create_task(_write_on(backends, 2000, 20))
        first.resume()
        await asyncio.sleep(1)
        await writing
        await check_exact(backends, kafka, topic, 4000 + 20 * 50 * len(SITES))
        assert second.is_running
    finally:
        await backends.close()


async def test_twenty_rebalances_under_load(
    config: Path, kafka: KafkaCluster, topic: str, start_service: StartService
) -> None:
    """A second aggregator joins and leaves ten times while views stream in: nothing is lost, nothing doubled."""
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        start_service("aggregator", config)
        second = start_service("aggregator", config)
        stop = time.monotonic() + 120
        writing = asyncio.create_task(_write_on(backends, 10_000, 400))
        for _ in range(REBALANCES // 2):
            await asyncio.to_thread(second.terminate)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(second.start)
            await asyncio.sleep(0.3)
            assert time.monotonic() < stop
        await writing
        await check_exact(backends, kafka, topic, 400 * 50 * len(SITES))
    finally:
        await backends.close()


async def _write_on(backends: object, first: int, batches: int) -> None:
    for batch in range(batches):
        await write(backends, first + batch * 50, 50)  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
