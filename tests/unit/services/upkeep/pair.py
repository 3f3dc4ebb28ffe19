"""Pairs with views in them, counted live, for tests of upkeep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from services.aggregator.loop import Aggregator
from services.aggregator.metrics import AggregatorMetrics
from services.backends.port import EventLog
from services.runtime.backend import Backends
from services.runtime.health import Health
from tests.support.logs import NOON, view
from visits.codec import encode_record
from visits.partition import partition_of
from visits.record import Record
from visits.state import Parameters

PARTITIONS = 3
SITES = ("a", "b", "c", "d")
PARAMETERS = Parameters()


def views(first: int, count: int) -> list[Record]:
    """Return views of all sites, every third one the repetition of an earlier one."""
    return [
        view(
            NOON + number * 1_000,
            id=f"view-{number - len(SITES) * (number % 3 == 0 and number > 3):06d}",
            site=SITES[number % len(SITES)],
            page=f"/{number % 7}",
            visitor=f"{number % 5:016x}",
        )
        for number in range(first, first + count)
    ]


async def append(backends: Backends, records: list[Record]) -> None:
    """Append records, each to its site's partition."""
    await append_to(backends.log, records)


async def append_to(log: EventLog, records: list[Record]) -> None:
    """Append records to a log, each to its site's partition, in order and as few batches."""
    by_partition: dict[int, list[tuple[bytes, bytes]]] = {}
    for record in records:
        pair = (record.site.encode(), encode_record(record))
        by_partition.setdefault(partition_of(record.site, log.partitions), []).append(pair)
    for partition, pairs in by_partition.items():
        await log.append(partition, pairs)


async def append_raw(backends: Backends, value: bytes) -> None:
    """Append what no record is."""
    await backends.log.append(0, [(b"a", value)])


def made(backends: Backends, parameters: Parameters = PARAMETERS) -> Aggregator:
    """Return an aggregator that does not run yet."""
    metrics = AggregatorMetrics(CollectorRegistry())
    return Aggregator(backends.log, backends.store, parameters, metrics, Health(), 1.0)


@asynccontextmanager
async def counting(
    backends: Backends, parameters: Parameters = PARAMETERS
) -> AsyncIterator[Aggregator]:
    """Count live."""
    aggregator = made(backends, parameters)
    task = asyncio.create_task(aggregator.run())
    try:
        yield aggregator
    finally:
        aggregator.stop()
        await task


async def all_counted(backends: Backends) -> None:
    """Wait until everything is counted."""
    for partition in range(backends.log.partitions):
        consumer = await backends.log.replay(partition)
        end = (await consumer.extent(partition)).end
        await consumer.close()
        async with asyncio.timeout(20):
            while True:
                head = await backends.store.head(partition)
                if head is not None and head.fence.position >= end:
                    break
                await asyncio.sleep(0.01)


async def count(backends: Backends, records: list[Record]) -> None:
    """Append records and count up to the end."""
    await append(backends, records)
    async with counting(backends):
        await all_counted(backends)


async def total(backends: Backends, site: str, field: str = "v") -> int | None:
    """Return one counter."""
    partition = partition_of(site, backends.log.partitions)
    reading = await backends.store.read_counters(partition, site, [field], 0, NOON)
    return None if reading is None else reading.values[0]


async def dumped(backends: Backends) -> list[dict[str, object]]:
    """Return everything of every partition."""
    return [await backends.store.dump(p) for p in range(backends.log.partitions)]
