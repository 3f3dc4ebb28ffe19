"""What others write straight into the topic: dead letters with a reason, or a partition that waits for a newer release."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from services.cli.option import configuration
from services.runtime.backend import Backends, make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.logs import view
from tests.support.redis import RedisServer
from tests.support.truth import compare, kafka_records, wait_counted
from tests.support.visit_counter import Service, write_config
from visits.codec import encode_record
from visits.partition import partition_of

PARTITIONS = 2
HERE, THERE = "a", "d"
"""Two sites, of partition 0 and 1."""

NOW = time.time_ns() // 1_000_000
MEBIBYTE = 1024 * 1024
WAIT_SECONDS = 45.0


def good(site: str, number: int, **values: object) -> bytes:
    """Return a view's value."""
    return encode_record(view(NOW, site=site, id=f"good-{number:06d}", **values))


def mended(**values: object) -> bytes:
    """Return a good view's value with some of its fields changed; `None` takes one out."""
    fields = json.loads(good(HERE, 0)) | values
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


BAD: dict[str, bytes | None] = {
    "no value": None,
    "empty": b"",
    "junk": bytes(range(256)),
    "text": b"hello",
    "list": b"[1,2,3]",
    "other object": b'{"hello":"world"}',
    "cut off": good(HERE, 1)[:-9],
    "two at once": good(HERE, 2) + good(HERE, 3),
    "not UTF-8": mended(page="/x").replace(b"/x", b"/\xff\xfe"),
    "lone surrogate": mended(page="/x").replace(b"/x", b"/\\ud800"),
    "deep": b'{"v":1,"kind":"view","site":' + b"[" * 100_000,
    "NaN": mended(at="N").replace(b'"N"', b"NaN"),
    "number as text": mended(at="1"),
    "moment of microseconds": mended(at=NOW * 1000, received=NOW * 1000),
    "negative moment": mended(at=-1),
    "no such day": mended(day="2026-02-30"),
    "day in words": mended(day="yesterday!"),
    "no canonical page": mended(page="https://x/"),
    "long page": mended(page="/" + "x" * 2000),
    "short pseudonym": mended(visitor="abc"),
    "pseudonym of no digits": mended(visitor="zzzzzzzzzzzzzzzz"),
    "no id": mended(id=None),
    "no site id": mended(site="A_B"),
    "older version": mended(v=0),
    "foreign site": good(THERE, 4),
    "as large as the topic takes": random.Random(7).randbytes(MEBIBYTE - 200),
    "larger than a batch": bytes(3 * MEBIBYTE),
}


@pytest.fixture
async def backends(
    tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer, topic: str
) -> AsyncIterator[Backends]:
    config = write_config(
        tmp_path / "visit-counter.toml",
        kafka.url(topic),
        redis_server.url,
        {HERE: {}, THERE: {}},
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )
    opened = make_backends(configuration(config))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def foreigner(kafka: KafkaCluster, backends: Backends) -> AsyncIterator[AIOKafkaProducer]:
    """Somebody else's producer, once the topic is there."""
    del backends
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        compression_type="lz4",
        max_request_size=8 * MEBIBYTE,
        max_batch_size=8 * MEBIBYTE,
    )
    await producer.start()
    yield producer
    await producer.stop()


async def until_state(service: Service, partition: int, state: str) -> None:
    """Wait until a partition is in a state."""
    until = time.monotonic() + WAIT_SECONDS
    labels = {"partition": str(partition), "state": state}
    while await asyncio.to_thread(service.metric, "visit_counter_partition_state", **labels) != 1:
        assert time.monotonic() < until, f"partition {partition} is never {state}"
        await asyncio.sleep(0.2)


async def test_what_cannot_be_read_is_buried_and_the_rest_is_counted(
    tmp_path: Path, backends: Backends, foreigner: AIOKafkaProducer, kafka: KafkaCluster, topic: str,
    start_service: StartService,
) -> None:  # fmt: skip
    """Each kind of junk between two good views: dead letters have every one with its place, the views are exact."""
    assert (partition_of(HERE, PARTITIONS), partition_of(THERE, PARTITIONS)) == (0, 1)
    aggregator = start_service("aggregator", tmp_path / "visit-counter.toml")
    places: dict[int, str] = {}
    views = []
    for number, (name, value) in enumerate(BAD.items(), start=100):
        views.append(good(HERE, number, visitor=f"{number:016x}"))
        # Without a key, and with one that says another site: the value alone speaks.
        key = None if number % 2 else b"someone"
        await foreigner.send_and_wait(topic, views[-1], key, partition=0)
        sent = await foreigner.send_and_wait(topic, value, b"k", partition=0)
        places[sent.offset] = name
    views.append(good(HERE, 999))
    await foreigner.send_and_wait(topic, views[-1], HERE.encode(), partition=0)
    await wait_counted(backends, {0: 2 * len(BAD) + 1})
    found = await compare(backends, {0: views, 1: []})
    assert found[HERE].views == len(BAD) + 1
    letters = await kafka_records(kafka.bootstrap, f"{topic}.dead-letters", 0)
    told = {int(header(letter, "offset")): letter for letter in letters}
    assert {place: places[place] for place in told} == places
    for place, letter in told.items():
        assert header(letter, "partition") == "0"
        assert header(letter, "reason"), places[place]
        original = BAD[places[place]] or b""
        assert (letter.value or b"") == original[: len(letter.value or b"")], places[place]
        assert len(letter.value or b"") >= min(len(original), MEBIBYTE // 2), places[place]
    applied = await asyncio.to_thread(
        aggregator.metric, "visit_counter_applied_total", outcome="dead"
    )
    assert applied == len(BAD)
    await until_state(aggregator, 0, "running")


@pytest.mark.parametrize(
    "future",
    [
        mended(v=2, kind="view", page=None, path="/x"),
        mended(kind="reaction"),
        b'{"kind":"view","v":99}',
    ],
    ids=["next version", "new kind", "far version"],
)
async def test_a_record_of_a_newer_release_stops_its_partition_alone(
    future: bytes, tmp_path: Path, backends: Backends, foreigner: AIOKafkaProducer, topic: str,
    start_service: StartService,
) -> None:  # fmt: skip
    """What stands before it is counted, nothing after it; the other partition goes on."""
    aggregator = start_service("aggregator", tmp_path / "visit-counter.toml")
    before, after = good(HERE, 1), good(HERE, 2)
    for value in (before, future, after):
        await foreigner.send_and_wait(topic, value, b"k", partition=0)
    await wait_counted(backends, {0: 1})
    await until_state(aggregator, 0, "future_version")
    other = good(THERE, 3)
    await foreigner.send_and_wait(topic, other, b"k", partition=1)
    await wait_counted(backends, {1: 1})
    await compare(backends, {0: [before], 1: [other]})
    await until_state(aggregator, 1, "running")
    head = await backends.store.head(0)
    assert head is not None
    assert head.fence.position == 1


async def test_too_much_junk_stops_its_partition_alone(
    tmp_path: Path, backends: Backends, foreigner: AIOKafkaProducer, topic: str, start_service: StartService
) -> None:  # fmt: skip
    """More than one in ten of over a thousand: somebody else writes here, and a person has to look."""
    aggregator = start_service("aggregator", tmp_path / "visit-counter.toml")
    views = [good(HERE, number) for number in range(1_000)]
    for value in views:
        await foreigner.send(topic, value, b"k", partition=0)
    await foreigner.flush()
    await wait_counted(backends, {0: len(views)})
    for number in range(300):
        await foreigner.send(topic, b"junk %d" % number, b"k", partition=0)
    await foreigner.flush()
    await until_state(aggregator, 0, "too_many_dead")
    other = good(THERE, 3)
    await foreigner.send_and_wait(topic, other, b"k", partition=1)
    await wait_counted(backends, {1: 1})
    await compare(backends, {0: views, 1: [other]})


def header(letter: ConsumerRecord[bytes | None, bytes | None], name: str) -> str:
    """Return a dead letter's header."""
    return dict(letter.headers)[name].decode()
