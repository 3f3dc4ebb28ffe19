"""How a one-shot command uses log and store, beside running services or alone, and learns what became of its deltas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from prometheus_client import CollectorRegistry

from services.aggregator.loop import Aggregator
from services.aggregator.metrics import AggregatorMetrics
from services.backends.sqlite import is_in_use
from services.runtime.backend import Backends, make_backends
from services.runtime.health import Health
from services.runtime.settings import Configuration
from visits.delta import LedgerEntry
from visits.partition import partition_of

COUNTED_WITHIN_SECONDS = 15.0
"""How long a command waits for what it wrote to be counted."""


@asynccontextmanager
async def opened(found: Configuration) -> AsyncIterator[tuple[Backends, bool]]:
    """Open the configured pair; yield it, and whether this process must count itself.

    An embedded file that no service uses is taken for as long as the command runs, and the command counts what it writes;
    beside a service it only appends.
    """
    is_alone = found.settings.is_embedded and not is_in_use(found.sqlite_path())
    backends = make_backends(found, exclusive=is_alone)
    await backends.open()
    try:
        yield backends, is_alone
    finally:
        await backends.close()


async def count_up_to(found: Configuration, backends: Backends, position: int | None) -> None:
    """Count the embedded log in this process, where no service does, up to `position` or its end."""
    settings = found.settings
    metrics = AggregatorMetrics(CollectorRegistry())
    aggregator = Aggregator(
        backends.log,
        backends.store,
        settings.parameters,
        metrics,
        Health(),
        settings.aggregator.dead_ratio_max,
    )
    task = asyncio.create_task(aggregator.run())
    try:
        async with asyncio.timeout(None if position is None else COUNTED_WITHIN_SECONDS):
            while not task.done():
                head = await backends.store.head(0)
                if head is not None and head.fence.position > (
                    await _end(backends) - 1 if position is None else position
                ):
                    break
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
    aggregator.stop()
    await task


async def read_entries(backends: Backends, site: str) -> list[LedgerEntry]:
    """Return a site's ledger, in the order of the log."""
    partition = partition_of(site, backends.log.partitions)
    entries = [
        msgspec.json.decode(raw, type=LedgerEntry)
        for raw in await backends.store.read_ledger(partition, site)
    ]
    return sorted(entries, key=lambda entry: entry.position)


async def _end(backends: Backends) -> int:
    consumer = await backends.log.consumer()
    try:
        return (await consumer.extent(0)).end
    finally:
        await consumer.close()
