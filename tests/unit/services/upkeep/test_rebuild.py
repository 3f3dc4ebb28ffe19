"""The log counted once more: compared, swapped, and left alone where that would lose something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.backends.generation import SITE_TABLES, Table
from services.backends.memory import MemoryLog, MemoryStore
from services.backends.sqlite import open_sqlite
from services.runtime.backend import Backends
from services.upkeep.rebuild import rebuild
from services.upkeep.shadowing import Progress
from services.upkeep.verifying import verify
from tests.support.logs import NOON
from tests.unit.services.upkeep.pair import (
    PARAMETERS,
    PARTITIONS,
    SITES,
    all_counted,
    append,
    append_raw,
    counting,
    dumped,
    made,
    total,
    views,
)
from visits.errors import PartitionStoppedError, SettingsError
from visits.partition import partition_of
from visits.state import Parameters


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


async def plant(backends: Backends, site: str, field: str, n: int | None) -> None:
    """Add to a counter behind the fold's back, or take it away, in a generation that is else the live one's copy."""
    partition = partition_of(site, backends.log.partitions)
    generations = backends.store.generations()
    live = await backends.store.head(partition)
    assert live is not None
    number = await generations.start_load(partition, 0)
    for each in await generations.sites(partition, live.generation):
        for table in SITE_TABLES:
            async for rows in generations.scan(partition, live.generation, table, each):
                if (table, each) == (Table.COUNTERS, site):
                    before = rows.pop(field, 0)
                    if n is not None:
                        rows[field] = before + n
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


async def test_a_counter_that_is_gone_is_a_difference(backends: Backends) -> None:
    """What only the log has is found too."""
    await append(backends, views(0, 30))
    async with counting(backends):
        await all_counted(backends)
        true = await total(backends, "c", "p")
        await plant(backends, "c", "p", None)
        found = await verify(backends, Progress())
    assert [(d.site, d.what, d.store, d.log) for d in found.differences] == [
        ("c", "visitors in all", 0, true)
    ]


async def test_what_is_not_counted_yet_is_no_difference(backends: Backends) -> None:
    """The log is counted once more to where the store stands, and no further."""
    await append(backends, views(0, 40))
    async with counting(backends):
        await all_counted(backends)
    await append(backends, views(40, 40))
    found = await verify(backends, Progress())
    assert (found.records, found.count) == (40, 0)


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
    before = await dumped(backends)
    with pytest.raises(PartitionStoppedError, match="future_version"):
        await rebuild(backends, PARAMETERS, Progress())
    assert await dumped(backends) == before
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
