"""Backups: whole, without salts, and back again on another machine."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from services.backends.memory import MemoryLog, MemoryStore
from services.backends.sqlite import open_sqlite
from services.runtime.backend import Backends
from services.upkeep.base import opened_base
from services.upkeep.copy import VERIFY, copy_file, remove_leftovers
from services.upkeep.nightly import NightlyPart, backup_name, is_due, superfluous
from services.upkeep.rebuild import rebuild
from services.upkeep.restoring import restore_file, restore_store
from services.upkeep.saving import save_store
from services.upkeep.shadowing import Progress
from services.upkeep.verifying import verify
from tests.unit.services.upkeep.pair import (
    PARAMETERS,
    PARTITIONS,
    all_counted,
    append,
    count,
    counting,
    dumped,
    views,
)
from visits.errors import PartitionStoppedError, SettingsError
from visits.state import SCHEMA, Parameters


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Backends]:
    """An embedded pair on `data.db`."""
    pair = Backends(*open_sqlite(tmp_path / "data.db"))
    await pair.open()
    yield pair
    await pair.close()


def names_in(folder: Path, part: str = "") -> list[str]:
    """Return the names of the files with that part in them, sorted."""
    return sorted(file.name for file in folder.iterdir() if part in file.name)


async def test_an_embedded_file_is_copied_while_it_is_written(
    embedded: Backends, tmp_path: Path
) -> None:
    """The copy is of one moment: the numbers of a position, and the log behind it; restored, it counts on from there."""
    async with counting(embedded):
        await append(embedded, views(0, 100))
        await all_counted(embedded)

        async def go_on() -> None:
            for start in range(100, 300, 10):
                await append(embedded, views(start, 10))

        writing = asyncio.create_task(go_on())
        await asyncio.to_thread(copy_file, tmp_path / "data.db", tmp_path / "backup.db")
        await writing
        await all_counted(embedded)
    with opened_base(tmp_path / "backup.db") as base:
        base.check()
        restore_file(base, tmp_path / "elsewhere" / "data.db")
        saved = base.heads[0].fence.position
    assert 100 <= saved <= 300
    other = Backends(*open_sqlite(tmp_path / "elsewhere" / "data.db"))
    await other.open()
    try:
        async with counting(other):
            await all_counted(other)
            assert (await verify(other, Progress())).count == 0
            assert await other.log.log_id() == await embedded.log.log_id()
    finally:
        await other.close()


async def test_a_restored_file_has_the_same_numbers(embedded: Backends, tmp_path: Path) -> None:
    """Everything is equal, also what was forgotten and is only remembered for the fold; and both go on alike."""
    await count(embedded, views(0, 120))
    copy_file(tmp_path / "data.db", tmp_path / "backup.db")
    with opened_base(tmp_path / "backup.db") as base:
        restore_file(base, tmp_path / "new.db")
    other = Backends(*open_sqlite(tmp_path / "new.db"))
    await other.open()
    try:
        assert await dumped(other) == await dumped(embedded)
        for pair in (embedded, other):
            await count(pair, views(120, 60))
        for found, expected in zip(await dumped(other), await dumped(embedded), strict=True):
            # Their logs' own times part here, and with them the fingerprints.
            for each in (found, expected):
                each.pop("fence")
            assert found == expected
    finally:
        await other.close()


async def test_no_salt_is_in_a_backup(embedded: Backends, tmp_path: Path) -> None:
    """Neither as a row nor in a free page."""
    salts = [secrets.token_bytes(16) for _ in range(20)]
    for number, salt in enumerate(salts):
        await embedded.store.put_salt(f"2026-11-{number + 1:02d}", salt)
    await count(embedded, views(0, 10))
    raw = b"".join((tmp_path / name).read_bytes() for name in ("data.db", "data.db-wal"))
    assert all(salt in raw for salt in salts)
    copy_file(tmp_path / "data.db", tmp_path / "backup.db")
    backup = (tmp_path / "backup.db").read_bytes()
    assert not [salt for salt in salts if salt in backup]
    assert names_in(tmp_path, "backup") == ["backup.db"]


async def test_only_an_empty_file_is_replaced(embedded: Backends, tmp_path: Path) -> None:
    """A file with records is named with its log; one in use is left alone; an empty one may go."""
    await count(embedded, views(0, 20))
    copy_file(tmp_path / "data.db", tmp_path / "backup.db")
    fresh = Backends(*open_sqlite(tmp_path / "fresh.db"))
    await fresh.open()
    with opened_base(tmp_path / "backup.db") as base:
        with pytest.raises(SettingsError, match="in use"):
            restore_file(base, tmp_path / "fresh.db")
        await fresh.close()
        restore_file(base, tmp_path / "fresh.db")
        with pytest.raises(SettingsError, match=await embedded.log.log_id()):
            restore_file(base, tmp_path / "fresh.db")


async def test_a_backup_of_a_newer_release_is_refused(embedded: Backends, tmp_path: Path) -> None:
    """It names both schemas; what is no backup, or is damaged, is refused too."""
    await count(embedded, views(0, 20))
    path = tmp_path / "backup.db"
    copy_file(tmp_path / "data.db", path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with (
        pytest.raises(SettingsError, match=f"schema {SCHEMA + 1}.*reads {SCHEMA}"),
        opened_base(path),
    ):
        pass
    path.write_bytes(b"no backup " * 1000)
    with pytest.raises(SettingsError, match="cannot be read"), opened_base(path):
        pass
    with pytest.raises(SettingsError, match="no file"), opened_base(tmp_path / "absent"):
        pass


async def test_a_damaged_backup_is_not_restored(embedded: Backends, tmp_path: Path) -> None:
    """Pages that were overwritten are noticed before anything is touched."""
    await count(embedded, views(0, 2_000))
    path = tmp_path / "backup.db"
    copy_file(tmp_path / "data.db", path)
    whole = bytearray(path.read_bytes())
    half = len(whole) // 2 // 4096 * 4096
    whole[half : half + 40_960] = b"\x55" * 40_960
    path.write_bytes(whole)
    with pytest.raises(SettingsError, match=r"damaged|cannot be read"), opened_base(path) as base:
        restore_file(base, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


async def saved_store(log: MemoryLog, path: Path) -> Backends:
    """Return a pair of several partitions that was counted, and saved while it was counted."""
    pair = Backends(log, MemoryStore())
    async with counting(pair):
        await append(pair, views(0, 150))
        await all_counted(pair)
        await save_store(pair.store, path)
    return pair


async def test_a_store_is_restored_to_the_same_numbers(tmp_path: Path) -> None:
    """Every partition stands at the position it was saved at, and counting goes on from the log."""
    log = MemoryLog(PARTITIONS)
    first = await saved_store(log, tmp_path / "backup.db")
    expected = await dumped(first)
    second = Backends(log, MemoryStore())
    with opened_base(tmp_path / "backup.db") as base:
        positions = await restore_store(base, second)
    assert sum(positions.values()) == 150
    assert await dumped(second) == expected
    assert await second.store.meta() == await first.store.meta()
    await append(second, views(150, 60))
    for pair in (first, second):
        async with counting(pair):
            await all_counted(pair)
            assert (await verify(pair, Progress())).count == 0
    assert await dumped(second) == await dumped(first)
    for partition in range(PARTITIONS):
        assert (await first.store.generations().overview(partition)).doomed == {}


async def test_what_is_not_empty_or_of_another_log_is_refused(tmp_path: Path) -> None:
    """With the names of both logs; nothing is changed."""
    log = MemoryLog(PARTITIONS)
    first = await saved_store(log, tmp_path / "backup.db")
    other = Backends(MemoryLog(PARTITIONS), MemoryStore())
    fewer = Backends(MemoryLog(PARTITIONS + 1), MemoryStore())
    fewer.log._log_id = log._log_id  # type: ignore[attr-defined]  # the same log by name
    before = await dumped(first)
    with opened_base(tmp_path / "backup.db") as base:
        with pytest.raises(SettingsError, match=f"not empty.*{await log.log_id()}"):
            await restore_store(base, first)
        with pytest.raises(
            SettingsError, match=f"{await log.log_id()}.*{await other.log.log_id()}"
        ):
            await restore_store(base, other)
        with pytest.raises(SettingsError, match="3 partitions, the log has 4"):
            await restore_store(base, fewer)
        with pytest.raises(SettingsError, match=r"backup of Kafka \+ Redis"):
            restore_file(base, tmp_path / "data.db")
    assert await dumped(first) == before
    assert await other.store.meta() is None


async def test_a_log_that_lost_its_end_does_not_go_with_a_backup(tmp_path: Path) -> None:
    """Nothing becomes live of a backup that counted further than the log reaches, or other records."""
    log = MemoryLog(PARTITIONS)
    await saved_store(log, tmp_path / "backup.db")
    longest = max(range(PARTITIONS), key=lambda partition: len(log.records[partition]))
    lost = log.records[longest][-1]
    log.lose_tail(longest, len(log.records[longest]) - 1)
    second = Backends(log, MemoryStore())
    with opened_base(tmp_path / "backup.db") as base:
        with pytest.raises(PartitionStoppedError, match="log_behind_store"):
            await restore_store(base, second)
        await log.append(longest, [(lost.key, lost.value.replace(b"view-", b"xiew-"))])
        with pytest.raises(PartitionStoppedError, match="wrong_log"):
            await restore_store(base, second)
    assert await second.store.meta() is None
    assert await dumped(second) == [{}] * PARTITIONS


async def test_a_log_without_its_beginning_is_rebuilt_on_a_backup(
    embedded: Backends, tmp_path: Path
) -> None:
    """Without `--base` it is refused; with it the numbers are whole, and equal to those counted live."""
    await count(embedded, views(0, 80))
    copy_file(tmp_path / "data.db", tmp_path / "backup.db")
    await count(embedded, views(80, 40))
    before = await dumped(embedded)
    with closing(sqlite3.connect(tmp_path / "data.db")) as connection, connection:
        connection.execute("DELETE FROM log WHERE position <= 50")
    with pytest.raises(PartitionStoppedError, match=r"retention_lost.*--base BACKUP"):
        await rebuild(embedded, PARAMETERS, Progress())
    with opened_base(tmp_path / "backup.db") as base:
        assert (await verify(embedded, Progress(), base=base)).count == 0
        done = await rebuild(embedded, PARAMETERS, Progress(), base=base)
        with pytest.raises(SettingsError, match=r"bucket_minutes=60.*bucket_minutes=30"):
            await rebuild(embedded, Parameters(bucket_minutes=30), Progress(), base=base)
    assert done.records == 40
    assert await dumped(embedded) == before


def test_a_night_has_one_backup() -> None:
    """At once where there is none at all, then once a day after two, and at once if nights were missed."""
    nine, three, one = (datetime(2026, 11, 25, hour).astimezone() for hour in (9, 3, 1))
    yesterday, today = "visit-counter-2026-11-24.db", "visit-counter-2026-11-25.db"
    assert is_due([], one)
    assert is_due(["other.db"], one)
    assert not is_due([yesterday], one)
    assert is_due([yesterday], three)
    assert is_due(["visit-counter-2026-11-22.db"], one)
    assert not is_due([yesterday, today], nine)
    assert backup_name(nine.date()) == today


def test_only_our_own_backups_are_thinned_out() -> None:
    """The newest stay, whatever the order; files of another name are nobody's business."""
    names = [f"visit-counter-2026-11-{day:02d}.db" for day in (3, 1, 2)]
    assert superfluous([*names, "keep.db", "visit-counter-2026-11-01.db.partial"], 2) == [names[1]]
    assert superfluous(names, 5) == []


async def test_the_nightly_part_backs_up_and_tells_when(embedded: Backends, tmp_path: Path) -> None:
    """The first backup is made at once, older ones than asked for go, and the store knows the moment."""
    await count(embedded, views(0, 10))
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in ("2026-01-01", "2026-01-02"):
        (folder / f"visit-counter-{day}.db").write_bytes(b"old")
    part = NightlyPart(tmp_path / "data.db", embedded.store, folder, keep=2)
    await part.start()
    try:
        async with asyncio.timeout(20):
            while "visit-counter-2026-01-01.db" in names_in(folder):  # noqa: ASYNC110  # a folder tells nobody
                await asyncio.sleep(0.02)
    finally:
        await part.close()
    names = names_in(folder)
    assert len(names) == 2
    assert names[0] == "visit-counter-2026-01-02.db"
    with opened_base(folder / names[1]) as base:
        assert base.heads[0].fence.position == 10
    assert await embedded.store.generations().backed_up_at() > 0


def test_copies_of_killed_verifications_go(tmp_path: Path) -> None:
    """Those of processes that live stay."""
    path, mine = tmp_path / "data.db", Path("/proc/self").resolve().name
    for name in (f"{mine}", "999999999", "999999999-wal", "999999999.lock"):
        path.with_name(f"data.db{VERIFY}{name}").touch()
    path.with_name("data.db.verify-plan.txt").touch()
    remove_leftovers(path)
    assert names_in(tmp_path) == [
        f"data.db.verify-{mine}",
        "data.db.verify-plan.txt",
    ]
