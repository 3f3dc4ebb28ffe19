"""Exactly once through any crash: real processes, killed at seeded random moments under load."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.support.command import finish
from tests.support.kafka import KafkaCluster
from tests.support.load import Outcome, draw_visits, send
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.truth import (
    check_acknowledged,
    check_balances,
    compare,
    kafka_values,
    sqlite_values,
    wait_counted,
)
from tests.support.visit_counter import write_config

VIEWS = 20_000
RATE = 1_100.0
KILLS = 12
PARTITIONS = 4
SITES: dict[str, dict[str, object]] = {"thanhxuan": {}, "caugiay": {}, "hadong": {}}
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
SEED = int(os.environ.get("VISIT_COUNTER_TEST_SEED", "0")) or random.SystemRandom().randrange(
    1, 10**6
)


async def kill_and_restart(
    victims: dict[str, Process], rng: random.Random, seconds: float
) -> list[str]:
    """Kill something at random moments over `seconds`, each restarted at once; return who was killed."""
    killed: list[str] = []
    names = sorted(victims)
    order = names * (KILLS // len(names) + 1)
    rng.shuffle(order)
    for name in order[:KILLS]:
        await asyncio.sleep(rng.uniform(0.3, 2 * seconds / KILLS - 0.3))
        victims[name].kill()
        await asyncio.sleep(rng.uniform(0, 0.4))
        await asyncio.to_thread(victims[name].start)
        killed.append(name)
    return killed


async def load_and_kill(base_url: str, victims: dict[str, Process]) -> Outcome:
    """Send all views while the victims are killed."""
    print(f"seed {SEED} (VISIT_COUNTER_TEST_SEED repeats it)")
    visits = draw_visits(SEED, VIEWS, list(SITES))
    killer = asyncio.create_task(kill_and_restart(victims, random.Random(SEED), VIEWS / RATE))
    outcome = await send(base_url, visits, RATE)
    killed = await killer
    print(f"killed: {killed}")
    assert len(killed) >= 10
    return outcome


async def check_books_equal(config: Path) -> None:
    """Assert that the log counted once more gives the same numbers."""
    verified = await finish("rebuild", "--config", config, "--verify")
    print(verified.output)
    assert verified.status == 0, verified.output


async def test_embedded_pair_counts_exactly_once_through_kills(
    tmp_path: Path, start_service: StartService
) -> None:
    """One process, one file: killed a dozen times under load, every acknowledged view is counted once."""
    url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    config = write_config(tmp_path / "visit-counter.toml", url, url, SITES, server=SERVER)
    up = start_service("up", config)
    outcome = await load_and_kill(up.base_url, {"up": up})
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        values = sqlite_values(tmp_path / "data" / "visit-counter.db")
        await wait_counted(backends, {0: len(values)})
        await asyncio.to_thread(up.terminate)
        values = sqlite_values(tmp_path / "data" / "visit-counter.db")
        await asyncio.to_thread(up.start)
        await wait_counted(backends, {0: len(values)})
        found = await compare(backends, {0: values})
        check_acknowledged(outcome, found)
        await check_balances(up.base_url, found)
        await check_books_equal(config)
    finally:
        await backends.close()


async def test_kafka_and_redis_count_exactly_once_through_kills(
    tmp_path: Path,
    start_service: StartService,
    kafka_own: KafkaCluster,
    redis_own: RedisServer,
    topic: str,
) -> None:
    """Ingest, aggregator, Redis and the broker are killed under load; the numbers equal the oracle's."""
    config = write_config(
        tmp_path / "visit-counter.toml",
        f"kafka://{kafka_own.bootstrap}/{topic}",
        redis_own.url,
        SITES,
        server=SERVER,
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )
    ingest, aggregator = start_service("ingest", config), start_service("aggregator", config)
    victims: dict[str, Process] = {
        "ingest": ingest,
        "aggregator": aggregator,
        "redis": redis_own,
        "broker": kafka_own.nodes[0],
    }
    outcome = await load_and_kill(ingest.base_url, victims)
    await asyncio.to_thread(ingest.terminate)
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        logs = {p: await kafka_values(kafka_own.bootstrap, topic, p) for p in range(PARTITIONS)}
        await wait_counted(backends, {p: len(values) for p, values in logs.items()})
        found = await compare(backends, logs)
        check_acknowledged(outcome, found)
        api = start_service("api", config)
        await check_balances(api.base_url, found)
        await check_books_equal(config)
    finally:
        await backends.close()
