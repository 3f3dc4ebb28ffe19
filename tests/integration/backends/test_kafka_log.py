"""What is Kafka's own: brokers that die, topics made anew, a group that shares partitions, topics that do not fit."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from services.backends import kafka_consumer
from services.backends.kafka import KafkaLog
from services.backends.kafka_consumer import KafkaConsumer
from services.backends.kafka_metadata import ASK_SECONDS
from services.backends.port import TIMEOUT_SECONDS, LogConsumer
from tests.support.kafka import KafkaCluster
from tests.support.ports import free_port
from visits.codec import DeadRecord, LogRecord
from visits.errors import LogUnavailableError, SettingsError

SESSION_SECONDS = 6.0
WAIT_SECONDS = 30.0
SLACK_SECONDS = 2.0


def log_of(cluster: KafkaCluster, topic: str, partitions: int | None = 1) -> KafkaLog:
    """Return a log that is not open yet."""
    return KafkaLog(
        cluster.bootstrap,
        topic,
        partitions=partitions,
        group_id=topic,
        session_timeout_seconds=SESSION_SECONDS,
    )


async def wait_assigned(consumer: LogConsumer, count: int) -> None:
    """Fetch until the consumer has so many partitions."""
    until = time.monotonic() + WAIT_SECONDS
    while len(consumer.assigned) != count:
        assert time.monotonic() < until, f"{len(consumer.assigned)} of {count} assigned"
        await consumer.fetch(0.1)


async def read_until(consumer: LogConsumer, values: set[bytes]) -> list[LogRecord]:
    """Read partition 0 from 0, seeking again after each assignment, until all of `values` came."""
    found: dict[int, LogRecord] = {}
    generation, epoch = 0, -1
    until = time.monotonic() + WAIT_SECONDS
    while not values <= {record.value for record in found.values()}:
        assert time.monotonic() < until, f"{len(found)} of {len(values)} came"
        if 0 in consumer.assigned and consumer.generation(0) != generation:
            generation = consumer.generation(0)
            epoch = await consumer.seek(0, len(found))
        try:
            arrived = await consumer.fetch(0.2)
        except LogUnavailableError:
            continue
        for fetched in arrived:
            assert fetched.epoch == epoch
            for record in fetched.records:
                assert record.position == len(found)
                found[record.position] = record
    return list(found.values())


async def fetch_records(consumer: LogConsumer) -> list[LogRecord]:
    """Fetch until something comes; what fails meanwhile is tried again."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        try:
            arrived = await consumer.fetch(0.2)
        except LogUnavailableError:
            continue
        if records := [record for fetched in arrived for record in fetched.records]:
            return records
    raise AssertionError("nothing came")


async def append_until_taken(log: KafkaLog, values: list[bytes]) -> None:
    """Append until the broker that was away takes it."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            await log.append(0, [(b"k", value) for value in values])
        except LogUnavailableError:
            assert time.monotonic() < until
        else:
            return


async def test_a_killed_broker_loses_nothing_acknowledged(
    kafka_own: KafkaCluster, topic: str
) -> None:
    """Appends go on by themselves after a SIGKILL, and so does a consumer that was there all along."""
    log = await log_of(kafka_own, topic).open()
    consumer = await log.consumer()
    acknowledged: list[bytes] = []

    async def append_for(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            value = b"%d-%d" % (time.monotonic_ns(), len(acknowledged))
            try:
                await log.append(0, [(b"k", value)])
            except LogUnavailableError:
                continue
            acknowledged.append(value)

    try:
        await wait_assigned(consumer, 1)
        appending = asyncio.create_task(append_for(6))
        await asyncio.sleep(1)
        before = len(acknowledged)
        await asyncio.to_thread(kafka_own.restart)
        await appending
        await log.append(0, [(b"k", b"after")])
        records = await read_until(consumer, {*acknowledged, b"after"})
    finally:
        await consumer.close()
        await log.close()
    assert before > 0
    values = [record.value for record in records]
    assert len(values) == len(set(values))


# aiokafka forgets the connection of a start that is cut short; the collector closes it, with a warning.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_without_a_broker_appends_fail_in_time_and_recover(
    kafka_own: KafkaCluster, topic: str
) -> None:
    """Appends of all partitions fail together within the bound, close does not hang, and all is well afterwards."""
    log = await log_of(kafka_own, topic, 4).open()
    try:
        await log.append(0, [(b"k", b"before")])
        kafka_own.pause()
        began = time.monotonic()
        answers = await asyncio.gather(
            *(log.append(number, [(b"k", b"lost")]) for number in range(4)), return_exceptions=True
        )
        assert all(isinstance(answer, LogUnavailableError) for answer in answers), answers
        assert log.rebuilds == 1
        answers = await asyncio.gather(
            *(log.append(number, [(b"k", b"lost")]) for number in range(4)), return_exceptions=True
        )
        assert all(isinstance(answer, LogUnavailableError) for answer in answers), answers
        assert time.monotonic() - began < 2 * TIMEOUT_SECONDS + SLACK_SECONDS
        with pytest.raises(LogUnavailableError):
            await log.log_id()
        kafka_own.resume()
        until = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                await log.append(0, [(b"k", b"after")])
                break
            except LogUnavailableError:
                assert time.monotonic() < until
    finally:
        kafka_own.resume()
        began = time.monotonic()
        await log.close()
        assert time.monotonic() - began < TIMEOUT_SECONDS
        answers = []
        gc.collect()


async def id_once_known(log: KafkaLog, seconds: float = 10.0) -> str:
    """Return the log's id as soon as the broker knows its new topic: it is made before every broker has heard of it."""
    until = time.monotonic() + seconds
    while True:
        try:
            return await log.log_id()
        except LogUnavailableError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.05)


async def test_a_topic_made_anew_is_another_log(kafka: KafkaCluster, topic: str) -> None:
    """The id is the topic's and is asked each time; without a topic there is none."""
    log = await log_of(kafka, topic).open()
    try:
        first = await log.log_id()
        await kafka.delete_topic(topic)
        with pytest.raises(LogUnavailableError, match="does not exist"):
            await log.log_id()
        await kafka.create_topic(topic)
        assert await id_once_known(log) != first
    finally:
        await log.close()


async def test_a_tail_lost_behind_a_consumer_shows_as_another_epoch(
    kafka_own: KafkaCluster, topic: str
) -> None:
    """The client reads on across a power cut as if nothing were; the identity asked afterwards is another one."""
    log = await log_of(kafka_own, topic).open()
    consumer = await log.consumer()
    try:
        await wait_assigned(consumer, 1)
        await log.append(0, [(b"k", b"a")])
        await log.append(0, [(b"k", b"b"), (b"k", b"c")])
        await read_until(consumer, {b"a", b"b", b"c"})
        before = await log.identity()
        assert before == await log.identity()
        await asyncio.to_thread(kafka_own.lose_tail, topic, 0, 1)
        await append_until_taken(log, [b"x", b"y", b"d"])
        silently = await fetch_records(consumer)
        assert [record.value for record in silently][-1] == b"d"
        after = await log.identity()
        assert after.log_id == before.log_id
        assert after.epochs[0] > before.epochs[0]
    finally:
        await consumer.close()
        await log.close()


async def test_each_broker_is_asked_and_one_that_hangs_is_left_out(
    kafka_three: KafkaCluster, topic: str
) -> None:
    """The newest epoch counts, whichever broker knows it; a broker that hangs costs one wait, not one a question."""
    log = KafkaLog(kafka_three.bootstrap, topic, partitions=3, group_id=topic)
    await log.open()
    try:
        before = await log.identity()
        assert before.epochs.keys() == {0, 1, 2}
        kafka_three.nodes[0].pause()
        began = time.monotonic()
        seen = [await log.identity() for _ in range(20)]
        assert time.monotonic() - began < 2 * ASK_SECONDS + SLACK_SECONDS
        assert {identity.log_id for identity in seen} == {before.log_id}
        until = time.monotonic() + WAIT_SECONDS
        while (await log.identity()).epochs == before.epochs:
            assert time.monotonic() < until, "no partition changed its leader"
            await asyncio.sleep(0.2)
    finally:
        kafka_three.nodes[0].resume()
        await log.close()


async def test_many_services_may_open_at_once(kafka: KafkaCluster, topic: str) -> None:
    """The topic is made once, with the partitions asked for; who names none takes the topic's."""
    logs = [log_of(kafka, topic, 3) for _ in range(4)]
    await asyncio.gather(*(log.open() for log in logs))
    follower = await log_of(kafka, topic, None).open()
    try:
        assert {log.partitions for log in (*logs, follower)} == {3}
        assert len({await log.log_id() for log in logs}) == 1
        with pytest.raises(SettingsError, match="3 partitions"):
            await log_of(kafka, topic, 5).open()
    finally:
        await asyncio.gather(*(log.close() for log in (*logs, follower)))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime")],
)
async def test_a_topic_that_does_not_fit_is_refused(
    kafka: KafkaCluster, topic: str, setting: str, value: str
) -> None:
    """The refusal names the topic, the setting, what it is, and the command that mends it."""
    await kafka.create_topic(topic, 1, {setting: value})
    with pytest.raises(SettingsError) as refusal:
        await log_of(kafka, topic).open()
    for part in (topic, f"{setting}={value}", "kafka-configs.sh", "--alter"):
        assert part in str(refusal.value)


async def test_two_consumers_share_the_partitions(kafka: KafkaCluster, topic: str) -> None:
    """Each gets some; when one leaves, the other gets them all, and with new generations."""
    log = await log_of(kafka, topic, 4).open()
    first = await log.consumer()
    second = await log.consumer()
    try:
        until = time.monotonic() + WAIT_SECONDS
        while not (first.assigned and second.assigned and len(first.assigned) < 4):
            assert time.monotonic() < until
            await asyncio.gather(first.fetch(0.1), second.fetch(0.1))
        assert first.assigned | second.assigned == frozenset(range(4))
        assert not first.assigned & second.assigned
        before = {number: first.generation(number) for number in first.assigned}
        await second.close()
        await wait_assigned(first, 4)
        assert all(first.generation(number) != before[number] for number in before)
        # What was sought before the rebalance is not read on until it is sought again.
        await log.append(0, [(b"k", b"v")])
        assert not any(fetched.records for fetched in await first.fetch(0.3))
    finally:
        await asyncio.gather(first.close(), second.close(), log.close())


async def test_a_consumer_that_gets_nothing_is_made_anew(
    kafka: KafkaCluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that silently stopped fetching is replaced, since the broker says that there is more."""
    monkeypatch.setattr(kafka_consumer, "STUCK_SECONDS", 1.0)
    log = await log_of(kafka, topic).open()
    consumer = await log.consumer()
    assert isinstance(consumer, KafkaConsumer)
    try:
        await wait_assigned(consumer, 1)
        await log.append(0, [(b"k", b"one")])
        records = await read_until(consumer, {b"one"})
        # As in aiokafka's own reports: the task that fetches is gone and nothing tells.
        fetcher = consumer._consumer._fetcher
        assert fetcher is not None
        fetcher._fetch_task.cancel()
        await log.append(0, [(b"k", b"two")])
        records = await read_until(consumer, {b"one", b"two"})
        assert consumer.rebuilds >= 1
    finally:
        await consumer.close()
        await log.close()
    assert [record.value for record in records] == [b"one", b"two"]


async def test_dead_letters_keep_the_reason_and_the_place(kafka: KafkaCluster, topic: str) -> None:
    """Who looks into the dead letters sees the bytes, why, and where they stood."""
    log = await log_of(kafka, topic).open()
    reader = AIOKafkaConsumer(
        f"{topic}.dead-letters", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    )
    await reader.start()
    try:
        await log.bury(7, [DeadRecord(LogRecord(42, 1, b"k", b"\xff"), "not JSON")])
        letter = await asyncio.wait_for(reader.getone(), WAIT_SECONDS)
    finally:
        await reader.stop()
        await log.close()
    assert (letter.key, letter.value) == (b"k", b"\xff")
    assert dict(letter.headers) == {
        "reason": b"not JSON",
        "partition": b"7",
        "offset": b"42",
        "size": b"1",
    }


async def test_the_disks_of_the_brokers_are_told(
    kafka: KafkaCluster, topic: str, tmp_path: Path
) -> None:
    """What of the topic lies there grows by what is appended; room is no more than the disk has, on which all tests' folders are."""
    log = log_of(kafka, topic)
    await log.open()
    try:
        await log.log_id()
        [before] = await log.disks()
        payload = random.Random(1).randbytes(100_000)  # lz4 finds nothing to save
        await log.append(0, [(b"key", payload)])
        [after] = await log.disks()
    finally:
        await log.close()
    assert before.taken_bytes == 0
    assert 100_000 <= after.taken_bytes < 200_000
    assert after.name == before.name
    assert 0 < after.free_bytes <= shutil.disk_usage(tmp_path).total


async def test_a_broker_that_is_away_has_no_disk(topic: str) -> None:
    """Nobody is told a 0."""
    log = KafkaLog(f"127.0.0.1:{free_port()}", topic, group_id=topic)
    assert await log.disks() == []
    await log.close()
