"""`rebuild`, `backup` and `restore` beside live counting, on both pairs: equal books, a planted difference, a kill, a swap under load."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

from services.cli.option import configuration
from services.runtime.backend import Backends, make_backends
from tests.conftest import StartService
from tests.support.command import Finished, finish, start
from tests.support.kafka import KafkaCluster
from tests.support.load import Outcome, draw_visits, send
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
from visits.counters import Metric, total_field
from visits.partition import partition_of

PARTITIONS = 2
SITES: dict[str, dict[str, object]] = {"thanhxuan": {}, "caugiay": {}, "hadong": {}}
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
FIRST, SECOND = 1_500, 1_500
RATE = 500.0
VISITS = total_field(Metric.VISITS)


async def rebuild(config: Path, *arguments: str) -> Finished:
    """Run the command to its end."""
    return await finish("rebuild", "--config", config, *arguments)


async def killed_in_the_middle(config: Path) -> None:
    """Kill a rebuild without a chance to tidy up, then wait until another one is let in."""
    process = await start("rebuild", "--config", config)
    await asyncio.sleep(1.0)
    process.kill()
    await process.wait()


async def check_planted(config: Path, plant: Callable[[int], None]) -> None:
    """Find equal books, plant one visit, and see it named."""
    equal = await rebuild(config, "--verify")
    assert (equal.status, "books equal" in equal.output) == (0, True), equal.output
    plant(1)
    unequal = await rebuild(config, "--verify")
    assert unequal.status == 1, unequal.output
    line = next(line for line in unequal.output.splitlines() if "caugiay" in line)
    site, *what, store, log = line.split()
    assert (site, what, int(store) - int(log)) == ("caugiay", ["visits", "in", "all"], 1)
    assert "1 differences" in unequal.output


async def check_mended(config: Path, base_url: str) -> Outcome:
    """Rebuild under load, and find the books equal while it goes on."""
    sending = asyncio.create_task(send(base_url, draw_visits(2, SECOND, list(SITES)), RATE))
    await asyncio.sleep(0.3)
    done = await rebuild(config)
    assert done.status == 0, done.output
    equal = await rebuild(config, "--verify")
    assert (equal.status, "0 differences" in equal.output) == (0, True), equal.output
    return await sending


def both(first: Outcome, second: Outcome) -> Outcome:
    """Return two outcomes as one."""
    first.positions |= second.positions
    first.unknown |= second.unknown
    return first


async def test_the_embedded_pair_is_rebuilt_while_it_counts(
    tmp_path: Path, start_service: StartService
) -> None:
    """`up` goes on throughout; the numbers equal the oracle's, and nothing is left of a rebuild that was killed."""
    path = tmp_path / "data" / "visit-counter.db"
    url = f"sqlite:{path}"
    config = write_config(tmp_path / "visit-counter.toml", url, url, SITES, server=SERVER)
    up = start_service("up", config)
    outcome = await send(up.base_url, draw_visits(1, FIRST, list(SITES)), RATE)
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()

    def plant(n: int) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute(
                "UPDATE counter SET amount = amount + ? WHERE site = 'caugiay' AND field = ?",
                (n, VISITS),
            )

    try:
        await wait_counted(backends, {0: len(sqlite_values(path))})
        await check_planted(config, plant)
        await killed_in_the_middle(config)
        await let_in(config)
        outcome = both(outcome, await check_mended(config, up.base_url))
        values = sqlite_values(path)
        await wait_counted(backends, {0: len(values)})
        found = await compare(backends, {0: values})
        check_acknowledged(outcome, found)
        await check_balances(up.base_url, found)
        await check_nothing_left(backends, 1)
        assert not list(path.parent.glob("*verify*"))
    finally:
        await backends.close()


async def test_kafka_and_redis_are_rebuilt_while_they_count(
    tmp_path: Path,
    start_service: StartService,
    kafka: KafkaCluster,
    redis_server: RedisServer,
    topic: str,
) -> None:
    """Ingest, aggregator and api go on throughout; the numbers equal the oracle's."""
    config = write_config(
        tmp_path / "visit-counter.toml",
        f"kafka://{kafka.bootstrap}/{topic}",
        redis_server.url,
        SITES,
        server=SERVER,
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )
    ingest, aggregator = start_service("ingest", config), start_service("aggregator", config)
    api = start_service("api", config, wait=False)
    outcome = await send(ingest.base_url, draw_visits(1, FIRST, list(SITES)), RATE)

    def plant(n: int) -> None:
        partition = partition_of("caugiay", PARTITIONS)
        with redis_server.client() as client:
            live = client.get(f"vc:{{{partition}}}:generation").decode()
            client.hincrby(f"vc:{{{partition}}}:g{live}:c:caugiay", VISITS, n)

    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        logs = {p: await kafka_values(kafka.bootstrap, topic, p) for p in range(PARTITIONS)}
        await wait_counted(backends, {p: len(values) for p, values in logs.items()})
        await check_planted(config, plant)
        outcome = both(outcome, await check_mended(config, ingest.base_url))
        await asyncio.to_thread(ingest.terminate)
        logs = {p: await kafka_values(kafka.bootstrap, topic, p) for p in range(PARTITIONS)}
        await wait_counted(backends, {p: len(values) for p, values in logs.items()})
        found = await compare(backends, logs)
        check_acknowledged(outcome, found)
        await check_balances(api.base_url, found)
        await check_nothing_left(backends, PARTITIONS)
        assert aggregator.metric("visit_counter_fence_misses_total") >= PARTITIONS
        await check_restored(config, backends, redis_server, tmp_path)
    finally:
        await backends.close()


async def let_in(config: Path) -> None:
    """Wait until the shadow of a killed rebuild counts as left: a first run may be told to wait."""
    for _ in range(20):
        found = await rebuild(config)
        if found.status == 0:
            return
        assert "under way" in found.output
        await asyncio.sleep(1)
    raise AssertionError("a killed rebuild shuts all others out")


async def check_nothing_left(backends: Backends, partitions: int) -> None:
    """Assert that no shadow is left, and that all generations but the live one are to be removed."""
    for partition in range(partitions):
        found = await backends.store.generations().overview(partition)
        assert found.shadow == 0
        assert found.live not in found.doomed


def pointed(config: Path, store: str, other: str) -> Path:
    """Write the configuration with another store."""
    elsewhere = config.with_name("elsewhere.toml")
    elsewhere.write_text(config.read_text(encoding="utf-8").replace(store, other), encoding="utf-8")
    return elsewhere


async def check_restored(
    config: Path, backends: Backends, redis_server: RedisServer, folder: Path
) -> None:
    """Save the store while its aggregator runs, and restore it on another server: the same numbers, and no salt in the file."""
    saved = await finish("backup", "--config", config, folder / "backup.db")
    assert saved.status == 0, saved.output
    with redis_server.client() as client:
        salts = [client.get(key) for key in client.keys("vc:salt:*")]
        assert salts
    raw = (folder / "backup.db").read_bytes()
    assert not [salt for salt in salts if salt in raw]
    assert await backends.store.generations().backed_up_at() > 0
    with RedisServer(folder / "elsewhere") as other:
        elsewhere = pointed(config, redis_server.url, other.url)
        restored = await finish("restore", "--config", elsewhere, folder / "backup.db")
        assert restored.status == 0, restored.output
        there = make_backends(configuration(elsewhere), exclusive=False)
        await there.open()
        try:
            for partition in range(PARTITIONS):
                expected = await backends.store.dump(partition)
                assert await there.store.dump(partition) == expected
        finally:
            await there.close()
