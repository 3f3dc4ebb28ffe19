"""The harness starts a real broker that keeps acknowledged records over kills."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from tests.support.kafka import KafkaCluster

# A write with a broker lost waits until the controller has seen its session end (2 s here), maybe
# chosen a new controller first, and made the replicas in step fewer: seconds, more on a busy machine.
WRITE_TIMEOUT_MS = 25_000
REFUSED_WRITE_TIMEOUT_MS = 3000


async def produce(
    cluster: KafkaCluster, topic: str, values: list[bytes], timeout_ms: int = WRITE_TIMEOUT_MS
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, acks="all", request_timeout_ms=timeout_ms
    )
    await producer.start()
    try:
        for value in values:
            await asyncio.wait_for(producer.send_and_wait(topic, value, partition=0), 30)
    finally:
        # A producer with records that nobody takes waits for them when it stops.
        with suppress(TimeoutError):
            await asyncio.wait_for(producer.stop(), 2)


async def consume(cluster: KafkaCluster, topic: str) -> list[tuple[int, bytes | None]]:
    """Return offset and value of all records that partition 0 holds now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        position = (await consumer.beginning_offsets([partition]))[partition]
        consumer.seek(partition, position)
        records: list[tuple[int, bytes | None]] = []
        while position < end:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                records += [(record.offset, record.value) for record in batch]
                position = batch[-1].offset + 1
        return records
    finally:
        await consumer.stop()


async def test_a_record_survives_a_kill(kafka_own: KafkaCluster, topic: str) -> None:
    """What the broker acknowledged is there after SIGKILL and restart on the same port."""
    await kafka_own.create_topic(topic)
    await produce(kafka_own, topic, [b"before"])
    await asyncio.to_thread(kafka_own.restart)
    await produce(kafka_own, topic, [b"after"])
    assert await consume(kafka_own, topic) == [(0, b"before"), (1, b"after")]


async def test_a_broker_that_was_shut_down_comes_back(kafka_own: KafkaCluster, topic: str) -> None:
    """A controlled shutdown ends by itself and keeps the records."""
    await kafka_own.create_topic(topic)
    await produce(kafka_own, topic, [b"kept"])
    await asyncio.to_thread(kafka_own.terminate)
    assert not kafka_own.nodes[0].is_running
    await asyncio.to_thread(kafka_own.start)
    assert await consume(kafka_own, topic) == [(0, b"kept")]


async def test_a_paused_broker_goes_on_after_resume(kafka_own: KafkaCluster, topic: str) -> None:
    """A write to a paused broker waits and succeeds when it goes on."""
    await kafka_own.create_topic(topic)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_own.bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"warm", partition=0)
        kafka_own.pause()
        waiting = await producer.send(topic, b"paused", partition=0)
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        kafka_own.resume()
        assert (await asyncio.wait_for(waiting, 20)).offset == 1
    finally:
        await producer.stop()


async def test_topics_are_made_dropped_and_made_again(kafka: KafkaCluster, topic: str) -> None:
    """A recreated topic is empty, and the refusals of the broker are raised."""
    await kafka.create_topic(topic, 3, {"retention.ms": "-1"})
    with pytest.raises(TopicAlreadyExistsError):
        await kafka.create_topic(topic)
    await produce(kafka, topic, [b"old"])
    await kafka.recreate_topic(topic)
    assert await consume(kafka, topic) == []
    await kafka.delete_topic(topic)
    assert topic not in await kafka.topics()
    with pytest.raises(UnknownTopicOrPartitionError):
        await kafka.delete_topic(topic)


async def test_the_oldest_records_can_be_dropped(kafka: KafkaCluster, topic: str) -> None:
    """After `delete_records` the log begins at the offset given."""
    await kafka.create_topic(topic)
    await produce(kafka, topic, [b"0", b"1", b"2"])
    await kafka.delete_records(topic, 0, before=2)
    assert await consume(kafka, topic) == [(2, b"2")]


async def test_three_nodes_take_writes_with_one_down(tmp_path: Path, topic: str) -> None:
    """With two of three replicas up a write with acks=all is accepted, with one up it is not."""
    with KafkaCluster(tmp_path / "kafka", node_count=3) as cluster:
        await cluster.create_topic(topic)
        await produce(cluster, topic, [b"three"])
        await asyncio.to_thread(cluster.nodes[2].kill)
        await produce(cluster, topic, [b"two"])
        await asyncio.to_thread(cluster.nodes[1].kill)
        with pytest.raises((KafkaError, TimeoutError)):
            await asyncio.wait_for(produce(cluster, topic, [b"one"], REFUSED_WRITE_TIMEOUT_MS), 10)
        await asyncio.to_thread(cluster.start)
        values = [value for _, value in await consume(cluster, topic)]
        assert values[:2] == [b"three", b"two"]
