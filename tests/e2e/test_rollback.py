"""Redis goes back in time, the log is made anew, behind, or cut: noticed without help, exact again or stopped by name."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from services.cli.option import configuration
from services.runtime.backend import Backends, make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.logs import view
from tests.support.process import http_get, http_post
from tests.support.redis import RedisServer
from tests.support.truth import compare, kafka_values, wait_counted
from tests.support.visit_counter import Service, write_config
from visits.codec import encode_record
from visits.errors import UnavailableError
from visits.partition import partition_of

PARTITIONS = 2
SITES: dict[str, dict[str, object]] = {"a": {}, "b": {}, "c": {}, "d": {}}


@pytest.fixture
def config(tmp_path: Path, kafka_own: KafkaCluster, redis_own: RedisServer, topic: str) -> Path:
    return write_config(
        tmp_path / "visit-counter.toml",
        f"kafka://{kafka_own.bootstrap}/{topic}",
        redis_own.url,
        SITES,
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )


async def write(backends: Backends, first: int, count: int) -> None:
    """Append views of all sites to their partitions."""
    now = time.time_ns() // 1_000_000
    for site in SITES:
        records = [
            view(
                now,
                site=site,
                id=f"{site}-{first + n:06d}",
                page=f"/{n % 7}",
                visitor=f"{n % 50:016x}",
            )
            for n in range(count)
        ]
        values = [(site.encode(), encode_record(record)) for record in records]
        await backends.log.append(partition_of(site, PARTITIONS), values)


async def write_until_taken(backends: Backends, first: int, count: int) -> None:
    """Write once the broker that was away takes it; a try whose outcome is unknown has the same ids."""
    until = time.monotonic() + 30
    while True:
        try:
            await write(backends, first, count)
        except UnavailableError:
            assert time.monotonic() < until
        else:
            return


async def check_exact(backends: Backends, cluster: KafkaCluster, topic: str, views: int) -> None:
    """Wait until all is counted, and hold it against the oracle."""
    logs = {p: await kafka_values(cluster.bootstrap, topic, p) for p in range(PARTITIONS)}
    await wait_counted(backends, {p: len(values) for p, values in logs.items()})
    found = await compare(backends, logs)
    assert sum(numbers.views for numbers in found.values()) == views


async def wait_state(
    service: Service, state: str, partitions: set[str], seconds: float = 45.0
) -> None:
    """Wait until exactly these partitions are in a named state."""
    until = time.monotonic() + seconds
    found: set[str] = set()
    while time.monotonic() < until:
        try:
            samples = await asyncio.to_thread(service.metrics)
        except OSError:  # it does not listen yet
            samples = []
        found = {
            s.labels["partition"]
            for s in samples
            if s.name == "visit_counter_partition_state" and s.labels["state"] == state and s.value
        }
        if found == partitions:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{state} is the state of {found}, not of {partitions}")


async def wait_refused(ingest: Service) -> None:
    """Wait until ingest takes no more views into a log that is not counted, and says why."""
    until = time.monotonic() + 20
    status, answer = 202, b""
    while time.monotonic() < until and status != 503:
        status, answer = await asyncio.to_thread(
            http_post, f"{ingest.base_url}/v1/views", b'{"site":"a","page":"/"}'
        )
        await asyncio.sleep(0.2)
    assert b"the store was counted from" in answer, answer
    _, ready = await asyncio.to_thread(http_get, f"{ingest.base_url}/readyz?verbose")
    assert b"point log.url at the log" in ready


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
@pytest.mark.parametrize("how", ["old snapshot", "flushall"])
async def test_a_store_that_goes_back_is_noticed_and_exact_again(
    how: str, busy: bool, tmp_path: Path, config: Path, kafka_own: KafkaCluster, redis_own: RedisServer, topic: str,
    start_service: StartService,
) -> None:  # fmt: skip
    """An older snapshot or FLUSHALL while running, on a busy and on an idle log: exact in the end, without help."""
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        start_service("aggregator", config)
        await write(backends, 0, 500)
        await check_exact(backends, kafka_own, topic, 2000)
        snapshot = tmp_path / "old.rdb"
        await asyncio.to_thread(redis_own.save_snapshot, snapshot)
        await write(backends, 500, 500)
        await check_exact(backends, kafka_own, topic, 4000)
        writing = asyncio.create_task(_keep_writing(backends)) if busy else None
        if how == "flushall":
            await asyncio.to_thread(redis_own.flushall)
        else:
            await asyncio.to_thread(redis_own.restore_snapshot, snapshot)
        more = 0 if writing is None else await writing
        await check_exact(backends, kafka_own, topic, 4000 + more)
    finally:
        await backends.close()


async def _keep_writing(backends: Backends) -> int:
    for batch in range(20):
        await write(backends, 10_000 + batch * 50, 50)
        await asyncio.sleep(0.05)
    return 20 * 50 * len(SITES)


@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
async def test_a_recreated_topic_is_the_state_wrong_log(
    longer: bool, config: Path, kafka_own: KafkaCluster, topic: str, start_service: StartService
) -> None:
    """A topic made anew under the same name is never read on silently, be it shorter or longer than the position."""
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        aggregator, ingest = start_service("aggregator", config), start_service("ingest", config)
        await write(backends, 0, 100)
        await check_exact(backends, kafka_own, topic, 400)
        await asyncio.to_thread(aggregator.kill)
        before = [await backends.store.dump(p) for p in range(PARTITIONS)]
        await kafka_own.recreate_topic(topic, PARTITIONS)
        await backends.log.close()
        await backends.log.open()
        await write(backends, 50_000, 300 if longer else 10)
        await asyncio.to_thread(aggregator.start, wait=False)
        await wait_state(aggregator, "wrong_log", {"0", "1"})
        assert [await backends.store.dump(p) for p in range(PARTITIONS)] == before
        await wait_refused(ingest)
    finally:
        await backends.close()


async def test_a_tail_lost_under_a_running_aggregator_stops_its_partition(
    config: Path, kafka_own: KafkaCluster, topic: str, start_service: StartService
) -> None:
    """After a power cut other records stand where counted ones stood: noticed while running, never counted over."""
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        aggregator = start_service("aggregator", config)
        await write(backends, 0, 100)
        await check_exact(backends, kafka_own, topic, 400)
        lost = partition_of("a", PARTITIONS)
        before = await backends.store.dump(lost)
        await asyncio.to_thread(kafka_own.lose_tail, topic, lost, 100)
        await write_until_taken(backends, 60_000, 150)
        ends = {
            p: len(await kafka_values(kafka_own.bootstrap, topic, p)) for p in range(PARTITIONS)
        }
        counted = await backends.store.head(lost)
        assert counted is not None
        assert ends[lost] > counted.fence.position
        await wait_counted(backends, {1 - lost: ends[1 - lost]})
        await wait_state(aggregator, "wrong_log", {str(lost)})
        assert await backends.store.dump(lost) == before
    finally:
        await backends.close()


async def test_a_cut_log_stops_its_partition_and_the_others_go_on(
    config: Path, kafka_own: KafkaCluster, topic: str, start_service: StartService
) -> None:
    """Retention past the position stops that one partition by name; the other is counted on."""
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        aggregator = start_service("aggregator", config)
        await write(backends, 0, 100)
        await check_exact(backends, kafka_own, topic, 400)
        await asyncio.to_thread(aggregator.kill)
        await write(backends, 100, 100)
        cut = partition_of("a", PARTITIONS)
        ends = {
            p: len(await kafka_values(kafka_own.bootstrap, topic, p)) for p in range(PARTITIONS)
        }
        await kafka_own.delete_records(topic, cut, ends[cut] - 5)
        await asyncio.to_thread(aggregator.start, wait=False)
        await wait_counted(backends, {1 - cut: ends[1 - cut]})
        await wait_state(aggregator, "retention_lost", {str(cut)})
    finally:
        await backends.close()


async def test_a_log_behind_its_store_stops_its_partition(
    config: Path,
    kafka_own: KafkaCluster,
    redis_own: RedisServer,
    topic: str,
    start_service: StartService,
) -> None:
    """A store counted further than the log reaches is never set back silently; the other partition goes on."""
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        aggregator = start_service("aggregator", config)
        await write(backends, 0, 100)
        await check_exact(backends, kafka_own, topic, 400)
        await asyncio.to_thread(aggregator.kill)
        behind = partition_of("a", PARTITIONS)
        with redis_own.client() as client:
            client.hset(f"vc:{{{behind}}}:g1:head", "position", "1000000")
        await write(backends, 100, 50)
        ends = {
            p: len(await kafka_values(kafka_own.bootstrap, topic, p)) for p in range(PARTITIONS)
        }
        await asyncio.to_thread(aggregator.start, wait=False)
        await wait_counted(backends, {1 - behind: ends[1 - behind]})
        await wait_state(aggregator, "log_behind_store", {str(behind)})
    finally:
        await backends.close()
