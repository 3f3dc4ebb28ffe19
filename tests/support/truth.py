"""Holds what a pair of backends has counted against the independent oracle over its log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.runtime.backend import Backends
from tests.support.load import Outcome
from tests.support.oracle import Counted, count
from tests.support.process import http_get
from visits.errors import UnavailableError

READ_SECONDS = 60.0


def sqlite_values(path: Path) -> list[bytes]:
    """Return all values of an SQLite log, in order."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return [
            bytes(value)
            for (value,) in connection.execute("SELECT value FROM log ORDER BY position")
        ]


async def kafka_values(bootstrap: str, topic: str, partition: int) -> list[bytes]:
    """Return all values of one Kafka partition, in order."""
    return [record.value or b"" for record in await kafka_records(bootstrap, topic, partition)]


async def kafka_records(
    bootstrap: str, topic: str, partition: int
) -> list[ConsumerRecord[bytes | None, bytes | None]]:
    """Return all records of one Kafka partition, in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        # Not seek_to_beginning: it races the reset to the end that assign has begun.
        consumer.seek(place, (await consumer.beginning_offsets([place]))[place])
        found: list[ConsumerRecord[bytes | None, bytes | None]] = []
        until = time.monotonic() + READ_SECONDS
        while len(found) < end:
            assert time.monotonic() < until, f"{len(found)} of {end} records came"
            for records in (await consumer.getmany(timeout_ms=1000, max_records=5000)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def wait_counted(backends: Backends, ends: dict[int, int], seconds: float = 120.0) -> None:
    """Wait until every partition is counted up to its end.

    Raises:
        AssertionError: with what was reached, after `seconds`.
    """
    until = time.monotonic() + seconds
    positions: dict[int, int] = {}
    while time.monotonic() < until:
        try:
            heads = {partition: await backends.store.head(partition) for partition in ends}
        except UnavailableError:
            # The server was restarted under this test's own connections.
            await backends.store.close()
            await asyncio.sleep(0.2)
            with contextlib.suppress(UnavailableError):
                await backends.store.open()
            continue
        positions = {p: -1 if head is None else head.fence.position for p, head in heads.items()}
        if all(positions[p] >= end for p, end in ends.items()):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"counted to {positions}, the log ends at {ends}")


async def compare(backends: Backends, logs: dict[int, list[bytes]]) -> dict[str, Counted]:
    """Assert that the store equals the oracle on every site and partition; return the oracle's numbers."""
    found: dict[str, Counted] = {}
    for partition, values in logs.items():
        expected = count(values)
        dump: dict[str, Any] = await backends.store.dump(partition)
        for site, numbers in expected.items():
            counters = dump["counters"].get(site, {})
            stored = tuple(counters.get(field, 0) for field in ("v", "s", "p"))
            assert stored == (numbers.views, numbers.visits, numbers.visitors), site
            assert dump["pages"].get(site, {}) == dict(numbers.pages), site
            hours = {int(f[2:]): n for f, n in counters.items() if f.startswith("vb")}
            assert hours == dict(numbers.hours), site
            books = dump["books"].get(site, {})
            assert books.get("counted", 0) == numbers.views, site
            assert books.get("duplicate", 0) == numbers.duplicates, site
            for reason, n in numbers.refused.items():
                assert books.get(reason, 0) == n, (site, reason)
        assert set(dump["counters"]) <= set(expected)
        found |= expected
    return found


def check_acknowledged(outcome: Outcome, counted: dict[str, Counted]) -> None:
    """Assert that acknowledged views are counted once, the others at most once, and nothing else is."""
    ids = [event_id for numbers in counted.values() for event_id in numbers.ids]
    views = sum(numbers.views for numbers in counted.values())
    assert len(ids) == views, "a view was counted twice"
    assert set(outcome.positions) <= set(ids), "an acknowledged view is not counted"
    assert set(ids) <= set(outcome.positions) | outcome.unknown
    assert not outcome.refused
    print(
        f"{len(outcome.positions)} views acknowledged in {outcome.seconds:.1f} s, {len(outcome.unknown)} unknown, "
        f"{views} counted, answers {dict(outcome.statuses)}, "
        f"{sum(n.duplicates for n in counted.values())} repeats in the log"
    )


async def check_balances(base_url: str, found: dict[str, Counted]) -> None:
    """Assert that the books of every site close, and say what the oracle counted."""
    for site, numbers in found.items():
        status, body = await asyncio.to_thread(http_get, f"{base_url}/v1/sites/{site}/balance")
        assert status == HTTPStatus.OK, body
        balance = json.loads(body)
        differing = [check for check in balance["checks"] if check["difference"]]
        assert balance["closes"], (site, differing)
        assert not [day for day in balance["days"] if day["difference"]], site
        refused = sum(numbers.refused.values())
        assert (balance["counted"], balance["duplicate"]) == (numbers.views, numbers.duplicates)
        assert balance["received"] == numbers.views + numbers.duplicates + refused, site
