"""A log in another number of partitions: the same numbers, in each site's order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from services.backends.memory import MemoryLog, MemoryStore
from services.runtime.backend import Backends
from services.upkeep.rebuild import rebuild
from services.upkeep.repartition import copy_log
from services.upkeep.shadowing import Progress
from services.upkeep.verifying import verify
from tests.support.logs import NOON, view
from tests.unit.services.upkeep.pair import PARAMETERS, SITES, all_counted, count, counting, views
from visits.codec import LogRecord, encode_record
from visits.counters import DAY_MS
from visits.errors import SettingsError
from visits.partition import partition_of
from visits.record import Record


def values_of(log: MemoryLog, site: str) -> list[bytes]:
    """Return a site's values, in order."""
    partition = partition_of(site, log.partitions)
    return [record.value for record in log.records[partition] if record.key == site.encode()]


async def numbers(pair: Backends) -> dict[str, Any]:
    """Return every site's numbers, wherever they lie."""
    found: dict[str, Any] = {}
    for partition in range(pair.log.partitions):
        dump: dict[str, Any] = await pair.store.dump(partition)
        for table in ("counters", "pages", "page_days", "books"):
            for site, rows in dump.get(table, {}).items():
                found[f"{table} {site}"] = rows
    return found


def stamped(log: MemoryLog) -> None:
    """Give every record the log's time that a broker would have given it: its own moment."""
    log.records = [
        [
            LogRecord(
                each.position, json.loads(each.value).get("received", 0), each.key, each.value
            )
            for each in records
        ]
        for records in log.records
    ]


@pytest.mark.parametrize("partitions", [1, 2, 5])
async def test_the_numbers_are_the_same_in_other_partitions(partitions: int) -> None:
    """More or fewer: what is counted from the copy equals what was counted, and counting goes on."""
    source = MemoryLog(3)
    before = Backends(source, MemoryStore())
    # Days apart, so that partitions laid one behind the other would forget each other's readers.
    days: list[Record] = [
        view(NOON + day * DAY_MS + n, id=f"day-{day}-{site}-{n}", site=site, visitor=f"{n:016x}")
        for day in range(5)
        for n in range(4)
        for site in SITES
    ]
    await count(before, [*days, *views(0, 0)])
    stamped(source)
    target = MemoryLog(partitions)
    copied = await copy_log(source, target)
    assert (copied.records, copied.misplaced) == (len(days), 0)
    for site in SITES:
        assert values_of(target, site) == values_of(source, site)
    after = Backends(target, before.store)
    expected = await numbers(before)
    await rebuild(after, PARAMETERS, Progress(), is_other_log=True)
    assert await numbers(after) == expected
    async with counting(after):
        await all_counted(after)
        assert (await verify(after, Progress())).count == 0
    meta = await after.store.meta()
    assert meta is not None
    assert (meta.partitions, meta.log_id) == (partitions, await target.log_id())


async def test_a_topic_that_was_given_partitions_by_hand_is_mended() -> None:
    """A rebuild of it is refused, since a site's records lie in two places; the copy has them in one."""
    grown = MemoryLog(5)
    first = MemoryLog(2)
    first._log_id = grown._log_id
    before = Backends(first, MemoryStore())
    await count(before, views(0, 60))
    for partition in range(2):
        grown.records[partition] = list(first.records[partition])
    after = Backends(grown, before.store)
    for site in SITES:
        later = view(NOON + DAY_MS, id="later-000001", site=site)
        await grown.append(partition_of(site, 5), [(site.encode(), encode_record(later))])
    for action in (verify(after, Progress()), rebuild(after, PARAMETERS, Progress())):
        with pytest.raises(SettingsError, match="visit-counter repartition"):
            await action
    target = MemoryLog(5)
    copied = await copy_log(grown, target, counted_with=2)
    assert (copied.records, copied.misplaced) == (64, 0)
    mended = Backends(target, before.store)
    await rebuild(mended, PARAMETERS, Progress(), is_other_log=True)
    found = await numbers(mended)
    assert all(found[f"books {site}"]["2026-11-25:counted"] == 1 for site in SITES)


async def test_what_never_counted_does_not_count_in_the_copy() -> None:
    """A record in a partition that is not its site's is left out; what cannot be read stays among the dead."""
    source = MemoryLog(3)
    pair = Backends(source, MemoryStore())
    wrong = (partition_of("a", 3) + 1) % 3
    await source.append(wrong, [(b"a", encode_record(view(site="a", id="stray-00001")))])
    await source.append(0, [(b"", b"no record")])
    await count(pair, views(0, 12))
    target = MemoryLog(2)
    copied = await copy_log(source, target)
    assert (copied.records, copied.misplaced) == (13, 1)
    after = Backends(target, pair.store)
    expected = await numbers(pair)
    await rebuild(after, PARAMETERS, Progress(), is_other_log=True)
    assert await numbers(after) == expected


async def test_a_log_that_grows_meanwhile_or_is_not_empty_is_refused() -> None:
    """The copy of a log that goes on would lack what came; one into a used topic would mix two."""
    source = MemoryLog(2)
    await count(Backends(source, MemoryStore()), views(0, 20))
    target = MemoryLog(3)
    taken = [0]

    async def append_once(partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        if not taken[0]:
            taken[0] = 1
            await source.append(0, [(b"b", encode_record(view(site="b", id="late-000001")))])
        return await MemoryLog.append(target, partition, records)

    target.append = append_once  # type: ignore[method-assign]  # the moment between reading and the end
    with pytest.raises(SettingsError, match="stop ingest"):
        await copy_log(source, target)
    with pytest.raises(SettingsError, match="not empty"):
        await copy_log(source, target)
