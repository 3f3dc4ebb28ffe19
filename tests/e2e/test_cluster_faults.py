"""Three brokers and a Redis Cluster of six: a broker and a master die under load, a slot moves while batches are applied; exact."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.e2e.test_rollback import check_exact, write
from tests.support.kafka import KafkaCluster
from tests.support.load import draw_visits, send
from tests.support.outage import watch
from tests.support.process import wait_until
from tests.support.redis import RedisCluster, RedisServer
from tests.support.truth import check_acknowledged, compare, kafka_values, wait_counted
from tests.support.visit_counter import write_config
from visits.partition import partition_of

SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
RATE = 150.0
LOAD_SECONDS = 19.0
PARTITIONS = 4
AHEAD = 40
"""How many records the master counts that its replica never gets."""


def sites_of_all_partitions() -> dict[str, dict[str, object]]:
    """Return sites that lie in all partitions."""
    found: dict[int, str] = {}
    for number in range(100):
        found.setdefault(partition_of(f"cong-{number}", PARTITIONS), f"cong-{number}")
    assert len(found) == PARTITIONS
    return {site: {} for site in found.values()}


async def leader(cluster: KafkaCluster, topic: str, partition: int) -> int:
    """Return the index of the node that leads a partition."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=cluster.bootstrap)
    await consumer.start()
    try:
        await consumer.end_offsets([TopicPartition(topic, partition)])
        node = consumer._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        assert node is not None
        return int(node) - 1
    finally:
        await consumer.stop()


def position(node: RedisServer, partition: int) -> int:
    """Return how far a node, master or replica, has a partition counted."""
    with node.client() as client:
        client.execute_command("READONLY")
        return int(client.hget(f"vc:{{{partition}}}:g1:head", "position") or 0)


async def test_a_broker_and_a_master_die_under_load_and_a_replica_that_lags_takes_over(
    tmp_path: Path,
    start_service: StartService,
    kafka_three: KafkaCluster,
    redis_cluster: RedisCluster,
    topic: str,
) -> None:
    """What the promoted replica never got is counted again, what the broker had acknowledged stands in the others."""
    sites = sites_of_all_partitions()
    config = write_config(
        tmp_path / "visit-counter.toml",
        kafka_three.url(topic),
        redis_cluster.url,
        sites,
        server=SERVER,
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )
    ingest, _, api = (start_service(n, config) for n in ("ingest", "aggregator", "api"))
    visits = draw_visits(6, round(RATE * LOAD_SECONDS), list(sites))
    load = asyncio.create_task(send(ingest.base_url, visits, RATE))
    await asyncio.sleep(3)
    masters = [redis_cluster.master_of(f"vc:{{{p}}}:generation") for p in range(PARTITIONS)]
    assert len({node.port for node in masters}) > 1, "all partitions lie on one master"
    master, replica = masters[0], redis_cluster.replica_of(masters[0])
    replica.kill()
    knew = position(master, 0)
    await asyncio.to_thread(
        wait_until,
        lambda: position(master, 0) >= knew + AHEAD,
        timeout_seconds=30,
        what="the master to get ahead of its replica",
    )
    kafka_three.nodes[await leader(kafka_three, topic, 0)].kill()
    await asyncio.sleep(1)
    had = position(master, 0)
    master.kill()
    # A replica that was away so long may not take over by itself: that is what makes it lag here.
    replica.argv += ["--cluster-replica-validity-factor", "0"]
    await asyncio.to_thread(replica.start)
    lagging = position(replica, 0)
    assert lagging <= had - AHEAD
    seen = await watch(ingest, next(iter(sites)), 6.0, name="watched")
    for broker in kafka_three.nodes:
        if not broker.is_running:
            await asyncio.to_thread(broker.start)
    outcome = await load
    assert replica in redis_cluster.masters()
    await asyncio.to_thread(redis_cluster.start)
    print(f"the promoted replica stood at {lagging}, its master at {had}; {seen.told()}")
    seen.join(outcome)
    await asyncio.to_thread(api.wait_ready)
    # Its last tallies are in the log then, and the log is at its end.
    await asyncio.to_thread(ingest.terminate)
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        logs = {p: await kafka_values(kafka_three.bootstrap, topic, p) for p in range(PARTITIONS)}
        await wait_counted(backends, {p: len(values) for p, values in logs.items()})
        check_acknowledged(outcome, await compare(backends, logs))
        assert outcome.unknown <= seen.posts.keys()
    finally:
        await backends.close()


async def test_a_slot_moves_while_its_partition_is_counted(
    tmp_path: Path,
    start_service: StartService,
    kafka: KafkaCluster,
    redis_cluster: RedisCluster,
    topic: str,
) -> None:
    """Key by key, with batches coming in: each waits for the slot or finds it, and none is added twice."""
    config = write_config(
        tmp_path / "visit-counter.toml",
        kafka.url(topic),
        redis_cluster.url,
        {name: {} for name in "abcd"},
        log={"partitions": 2, "session_timeout_seconds": 6},
    )
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        aggregator = start_service("aggregator", config)
        await write(backends, 0, 50)
        await check_exact(backends, kafka, topic, 200)
        said = len(aggregator.output())
        stop = asyncio.Event()
        writing = asyncio.create_task(keep_writing(backends, stop))
        for partition in range(2):
            moved = await asyncio.to_thread(
                redis_cluster.move_slot, f"vc:{{{partition}}}:generation", 0.1
            )
            print(f"partition {partition}: {moved} keys moved one by one")
            assert moved > 5
        stop.set()
        await check_exact(backends, kafka, topic, 200 + await writing)
        assert "waiting for log or store" in aggregator.output()[said:], (
            "no batch met the moving slot"
        )
    finally:
        await backends.close()


async def keep_writing(backends: object, stop: asyncio.Event) -> int:
    """Append small batches until told to stop; return how many views."""
    batch = 0
    while not stop.is_set():
        await write(backends, 10_000 + batch * 5, 5)  # type: ignore[arg-type]
        batch += 1
        await asyncio.sleep(0.02)
    return batch * 5 * 4
