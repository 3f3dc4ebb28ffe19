"""The laws of `EventLog`, each written once and run on every log."""

from __future__ import annotations

import asyncio
import time
import uuid

from services.backends.port import BATCH_RECORDS_MAX, EventLog, LogConsumer
from visits.codec import LogRecord


async def assigned(consumer: LogConsumer) -> None:
    """Wait until the consumer has the log's one partition."""
    until = time.monotonic() + 20
    while 0 not in consumer.assigned:
        assert time.monotonic() < until
        assert await consumer.fetch(0.1) == []


async def read(consumer: LogConsumer, epoch: int, count: int) -> list[LogRecord]:
    """Fetch until `count` records of an epoch have come."""
    found: list[LogRecord] = []
    until = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} records came"
        for fetched in await consumer.fetch(0.2):
            assert fetched.epoch == epoch
            found += fetched.records
    return found


async def test_positions_are_dense_and_what_append_said(event_log: EventLog) -> None:
    """Positions begin at 0, each next one more, and everything is read byte for byte in order."""
    first = [(b"a", b"one"), (b"", b"\x00\xff"), (b"b", b"")]
    assert await event_log.append(0, first) == 0
    assert await event_log.append(0, [(b"c", b"four")]) == len(first)
    consumer = await event_log.consumer()
    try:
        await assigned(consumer)
        records = await read(consumer, await consumer.seek(0, 0), 4)
    finally:
        await consumer.close()
    assert [record.position for record in records] == [0, 1, 2, 3]
    assert [(record.key, record.value) for record in records] == [*first, (b"c", b"four")]


async def test_nothing_is_handed_out_before_seek_and_seeking_back_replays(
    event_log: EventLog,
) -> None:
    """The store says where to read from; a newer seek's records never mix with an older one's."""
    await event_log.append(0, [(b"k", b"%d" % n) for n in range(10)])
    consumer = await event_log.consumer()
    try:
        await assigned(consumer)
        assert not any(fetched.records for fetched in await consumer.fetch(0.3))
        assert [r.value for r in await read(consumer, await consumer.seek(0, 7), 3)] == [
            b"7",
            b"8",
            b"9",
        ]
        await consumer.seek(0, 0)
        epoch = await consumer.seek(0, 9)
        assert [r.value for r in await read(consumer, epoch, 1)] == [b"9"]
        extent = await consumer.extent(0)
        assert (extent.begin, extent.end) == (0, 10)
    finally:
        await consumer.close()


async def test_the_log_keeps_its_identity(event_log: EventLog) -> None:
    """The id is the same on every question, also after opening again."""
    before = await event_log.log_id()
    await event_log.close()
    await event_log.open()
    assert before == await event_log.log_id()
    assert uuid.UUID(before).int


async def test_the_greatest_batch_is_one_append(event_log: EventLog) -> None:
    """As many records as a batch may have arrive in order; appends beside one another stay dense."""
    records = [(b"site", b"%05d" % n + b"x" * 90) for n in range(BATCH_RECORDS_MAX)]
    assert await event_log.append(0, records) == 0
    firsts = await asyncio.gather(*(event_log.append(0, [(b"k", b"v")]) for _ in range(5)))
    assert sorted(first for first in firsts if first is not None) == list(range(5_000, 5_005))


async def test_the_identity_stays_while_the_log_does(event_log: EventLog) -> None:
    """Id and epochs come together and are equal from answer to answer, whatever is appended meanwhile."""
    before = await event_log.identity()
    await event_log.append(0, [(b"k", b"v")])
    assert await event_log.identity() == before
    assert before.log_id == await event_log.log_id()
    assert before.epochs.keys() <= {0}
