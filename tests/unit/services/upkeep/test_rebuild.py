"""The log counted once more: compared, swapped, and left alone where that would lose something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.aggregator.loop import Aggregator
from services.aggregator.metrics import AggregatorMetrics
from services.backends.generation import SITE_TABLES, Table
from services.backends.memory import MemoryLog, MemoryStore
from services.backends.sqlite import open_sqlite
from services.runtime.backend import Backends
from services.runtime.health import Health
from services.upkeep.rebuild import Progress, rebuild, verify
from tests.support.logs import NOON, view
from visits.codec import encode_record
from visits.errors import PartitionStoppedError, SettingsError
from visits.partition import partition_of
from visits.record import Record
from visits.state import Parameters

PARTITIONS = 3
SITES = ("a", "b", "c", "d")
PARAMETERS = Parameters()


@pytest.fixture(params=["memory", "sqlite"])
async def backends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backends]:
    """A pair with nothing in it."""
    if request.param == "memory":
        yield Backends(MemoryLog(PARTITIONS), MemoryStore())
        return
    pair = Backends(*open_sqlite(tmp_path / "counts.db"))
    await pair.open()
    yield pair
    await pair.close()


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
    for record in records:
        partition = partition_of(record.site, backends.log.partitions)
        await backends.log.append(partition, [(record.site.encode(), encode_record(record))])


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


async def total(backends: Backends, site: str, field: str = "v") -> int | None:
    """Return one counter."""
    partition = partition_of(site, backends.log.partitions)
    reading = await backends.store.read_counters(partition, site, [field], 0, NOON)
    return None if reading is None else reading.values[0]


async def plant(backends: Backends, site: str, field: str, n: int) -> None:
    """Add to a counter behind the fold's back, by a batch that only claims to count the log's next record."""
    partition = partition_of(site, backends.log.partitions)
    generations = backends.store.generations()
    live = await backends.store.head(partition)
    assert live is not None
    number = await generations.start_load(partition, 0)
    for each in await generations.sites(partition, live.generation):
        for table in SITE_TABLES:
            async for rows in generations.scan(partition, live.generation, table, each):
                if (table, each) == (Table.COUNTERS, site):
                    rows[field] = rows.get(field, 0) + n
                await generations.load(partition, number, table, each, rows, live)
    async for ids in generations.scan(partition, live.generation, Table.IDS, ""):
        await generations.load(partition, number, Table.IDS, "", ids, live)
    await generations.finish_load(partition, number, live)
    await generations.swap(partition, number, 0)


async def test_what_was_counted_live_equals_the_log(backends: Backends) -> None:
    """Duplicates, dead letters and several partitions included; nothing of the comparison is left behind."""
    await append(backends, views(0, 300))
    await append_raw(backends, b"no record")
    async with counting(backends):
        await all_counted(backends)
        found = await verify(backends, Progress())
    assert (found.count, found.differences) == (0, [])
    assert (found.records, found.sites) == (301, len(SITES))
    for partition in range(backends.log.partitions):
        overview = await backends.store.generations().overview(partition)
        assert (overview.shadow, overview.doomed) == (0, {})


async def test_a_difference_of_one_is_found_named_and_mended(backends: Backends) -> None:
    """Site and counter are named with both numbers; a rebuild makes the books equal again."""
    await append(backends, views(0, 60))
    async with counting(backends):
        await all_counted(backends)
        true = await total(backends, "b", "s")
        assert true is not None
        await plant(backends, "b", "s", 1)
        found = await verify(backends, Progress())
        assert found.count == 1
        (difference,) = found.differences
        assert (difference.site, difference.what) == ("b", "visits in all")
        assert (difference.store, difference.log) == (true + 1, true)
        await rebuild(backends, PARAMETERS, Progress())
        assert await total(backends, "b", "s") == true
        assert (await verify(backends, Progress())).count == 0


async def test_a_counter_too_few_and_one_too_many_are_differences(backends: Backends) -> None:
    """Also where only one of the two sides has the counter at all."""
    await append(backends, views(0, 30))
    async with counting(backends):
        await all_counted(backends)
        await plant(backends, "a", "vb1", 7)
        found = await verify(backends, Progress())
    assert [(d.site, d.store, d.log) for d in found.differences] == [("a", 7, 0)]


async def test_live_counting_goes_on_through_a_swap(backends: Backends) -> None:
    """Views that come while the log is counted once more are counted once, by the generation that is live then."""
    await append(backends, views(0, 200))
    async with counting(backends):
        await all_counted(backends)

        async def go_on() -> None:
            for start in range(200, 500, 10):
                await append(backends, views(start, 10))
                await asyncio.sleep(0.005)

        going = asyncio.create_task(go_on())
        before = [(await backends.store.generations().overview(p)).live for p in range(backends.log.partitions)]  # fmt: skip
        done = await rebuild(backends, PARAMETERS, Progress())
        await going
        await all_counted(backends)
        after = [(await backends.store.generations().overview(p)).live for p in range(backends.log.partitions)]  # fmt: skip
        assert all(new > old for new, old in zip(after, before, strict=True))
        assert done.records >= 200
        assert (await verify(backends, Progress())).count == 0
    assert sum([await total(backends, site) or 0 for site in SITES]) == len(
        {(record.site, record.id) for record in views(0, 500)}
    )


async def test_other_settings_are_counted_anew(backends: Backends) -> None:
    """What stops the start with `run rebuild` is mended by it: the same views lie in half hours then."""
    await append(backends, views(0, 100))
    async with counting(backends):
        await all_counted(backends)
    halves = Parameters(bucket_minutes=30)
    with pytest.raises(SettingsError, match="run `visit-counter rebuild`"):
        await made(backends, halves).run()
    await rebuild(backends, halves, Progress())
    meta = await backends.store.meta()
    assert meta is not None
    assert meta.bucket_minutes == 30
    async with counting(backends, halves):
        await append(backends, views(100, 20))
        await all_counted(backends)
        assert (await verify(backends, Progress())).count == 0
    assert await total(backends, "a", f"vb{NOON // 1_800_000}") == await total(backends, "a")


async def test_a_rebuild_that_fails_leaves_all_as_it_was(backends: Backends) -> None:
    """A record of a newer release ends it; the live numbers stand, and no shadow stays."""
    await append(backends, views(0, 30))
    async with counting(backends):
        await all_counted(backends)
    await append_raw(backends, b'{"v":2,"kind":"view","site":"a"}')
    before = [await backends.store.dump(p) for p in range(backends.log.partitions)]
    with pytest.raises(PartitionStoppedError, match="future_version"):
        await rebuild(backends, PARAMETERS, Progress())
    assert [await backends.store.dump(p) for p in range(backends.log.partitions)] == before
    for partition in range(backends.log.partitions):
        assert (await backends.store.generations().overview(partition)).shadow == 0


async def test_two_rebuilds_do_not_mix(backends: Backends) -> None:
    """While somebody fills a shadow another run is told to wait; one that was killed is put away."""
    await append(backends, views(0, 30))
    async with counting(backends):
        await all_counted(backends)
    generations = backends.store.generations()
    await generations.shadow().begin(0, await backends.log.log_id(), PARAMETERS)
    with pytest.raises(SettingsError, match="under way"):
        await rebuild(backends, PARAMETERS, Progress())
    found = await generations.overview(0)
    await generations.keep(0, found.shadow, found.doomed[found.shadow] - 60_000)
    await rebuild(backends, PARAMETERS, Progress())
    assert (await verify(backends, Progress())).count == 0


async def test_numbers_of_another_log_are_not_given_up_unasked() -> None:
    """A topic made anew has less than the store: that is said, and done only where it is asked for."""
    store = MemoryStore()
    first = Backends(MemoryLog(PARTITIONS), store)
    await append(first, views(0, 100))
    async with counting(first):
        await all_counted(first)
    second = Backends(MemoryLog(PARTITIONS), store)
    await append(second, views(100, 40))
    with pytest.raises(SettingsError, match="--other-log"):
        await rebuild(second, PARAMETERS, Progress())
    assert await total(second, "a") == await total(first, "a")
    await rebuild(second, PARAMETERS, Progress(), is_other_log=True)
    async with counting(second):
        await all_counted(second)
        assert (await verify(second, Progress())).count == 0


async def test_a_log_that_lost_its_end_is_rebuilt_only_when_asked() -> None:
    """The store has counted further than the log reaches: nothing is dropped in silence."""
    log, store = MemoryLog(), MemoryStore()
    pair = Backends(log, store)
    await append(pair, views(0, 50))
    async with counting(pair):
        await all_counted(pair)
    log.lose_tail(0, 20)
    with pytest.raises(SettingsError, match="the log ends at 20"):
        await rebuild(pair, PARAMETERS, Progress())
    done = await rebuild(pair, PARAMETERS, Progress(), is_other_log=True)
    assert done.positions == {0: 20}


async def test_progress_adds_up() -> None:
    """What was counted reaches what was to be counted."""
    pair = Backends(MemoryLog(PARTITIONS), MemoryStore())
    await append(pair, views(0, 90))
    told: list[tuple[int, int]] = []
    done = await rebuild(
        pair, PARAMETERS, Progress(lambda progress: told.append((progress.done, progress.total)))
    )
    assert told[-1] == (90, 90)
    assert done.records == 90
