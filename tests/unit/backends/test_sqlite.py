"""What is the SQLite pair's own; the laws that every backend keeps stand in `tests/contract/`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.backends.port import Applied, Extent, Miss
from services.backends.sqlite import SqliteLog, SqliteStore, is_in_use, open_sqlite
from tests.support.dictstore import LOG_ID, DictStore
from tests.support.logs import logs
from visits.codec import DeadRecord, LogRecord, decode_batch
from visits.errors import (
    LogUnavailableError,
    PartitionStoppedError,
    SettingsError,
    StoppedState,
    StoreUnavailableError,
)
from visits.fence import Fence
from visits.fold import fold, wanted
from visits.state import Batch, IdWindow, Parameters, Wanted

ROOT = Path(__file__).parents[3]
CHILD = Path(__file__).with_name("sqlite_child.py")
SMALL = Parameters(pages_max=3, ids_max=8)
"""Room for so little that every limit is met."""

Pair = tuple[SqliteLog, SqliteStore]

RECORD = (b"portal", b'{"some":"record"}')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "visit-counter.db"


@pytest.fixture
async def pair(path: Path) -> AsyncIterator[Pair]:
    log, store = open_sqlite(path)
    await log.open()
    await store.open()
    yield log, store
    await log.close()
    await store.close()


# The lock.


def test_second_service_stops_with_a_sentence(path: Path) -> None:
    """A second service process on a file ends at once and names the process to stop."""

    async def hold() -> subprocess.CompletedProcess[str]:
        log, _ = open_sqlite(path)
        await log.open()
        assert is_in_use(path)
        try:
            return await asyncio.to_thread(_run_child, path)
        finally:
            await log.close()

    ended = asyncio.run(hold())
    sentence = (
        f"{path} is in use by another visit-counter process (pid {os.getpid()}): stop it first"
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(sentence)
    assert not is_in_use(path)


async def test_a_look_at_the_lock_stops_no_service(path: Path) -> None:
    """A service that starts while somebody looks whether the file is in use waits that moment out."""
    log, store = open_sqlite(path)
    await log.open()
    await log.close()
    with path.with_name(f"{path.name}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        starting = asyncio.create_task(store.open())
        await asyncio.sleep(0.1)
        assert not starting.done()
    await starting
    assert is_in_use(path)
    await store.close()


async def test_file_is_closed_with_its_last_user(path: Path) -> None:
    """Log and store share the file: it stays open for one when the other is closed, then nothing is left beside it."""
    log, store = open_sqlite(path)
    await log.open()
    await store.open()
    await log.close()
    await log.close()
    await store.ping()
    assert is_in_use(path)
    await store.close()
    assert not is_in_use(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]
    with pytest.raises(StoreUnavailableError, match="is closed"):
        await store.ping()


# What another process appends.


async def test_command_appends_beside_a_running_service(pair: Pair, path: Path) -> None:
    """A one-shot command takes no lock; what it appends reaches the service without a word."""
    service, _ = pair
    consumer = await service.consumer()
    epoch = await consumer.seek(0, 0)
    waiting = asyncio.create_task(consumer.fetch(5.0))
    await asyncio.sleep(0.05)
    command, _ = open_sqlite(path, exclusive=False)
    await command.open()
    assert await command.append(0, [RECORD]) == 0
    assert await command.log_id() == await service.log_id()
    await command.close()
    (fetched,) = await asyncio.wait_for(waiting, 1.0)
    assert fetched.epoch == epoch
    assert [(record.key, record.value) for record in fetched.records] == [RECORD]
    assert await service.append(0, [RECORD]) == 1


async def test_two_processes_append_without_gap_or_loss(pair: Pair, path: Path) -> None:
    """Appends of two connections interleave; each position is given once."""
    service, _ = pair
    command, _ = open_sqlite(path, exclusive=False)
    await command.open()

    async def append(log: SqliteLog, name: bytes) -> dict[int, bytes]:
        given: dict[int, bytes] = {}
        for number in range(60):
            values = [b"%s-%d-%d" % (name, number, part) for part in range(3)]
            first = await log.append(0, [(b"portal", value) for value in values])
            assert first is not None
            given |= dict(enumerate(values, first))
        return given

    one, two = await asyncio.gather(append(service, b"service"), append(command, b"command"))
    await command.close()
    assert one.keys().isdisjoint(two)
    found = await _all_records(service)
    assert {record.position: record.value for record in found} == one | two
    assert [record.position for record in found] == list(range(360))


# Durability and positions.


async def test_full_disk_loses_nothing_and_leaves_no_gap(pair: Pair) -> None:
    """An append that finds the disk full says so, leaves nothing behind, and the next one follows densely."""
    log, store = pair
    assert await log.append(0, [RECORD] * 3) == 0
    file = log._file
    await file.write(lambda c: c.execute("PRAGMA max_page_count = 1"), LogUnavailableError)
    with pytest.raises(LogUnavailableError, match="disk is full: make room"):
        await log.append(0, [(b"portal", secrets.token_bytes(2_000))] * 200)
    with pytest.raises(StoreUnavailableError, match="disk is full: make room"):
        await store.put_salt("2026-11-24", secrets.token_bytes(50_000))
    await file.write(lambda c: c.execute("PRAGMA max_page_count = 1000000"), LogUnavailableError)
    assert await log.append(0, [RECORD] * 2) == 3
    assert [record.position for record in await _all_records(log)] == list(range(5))


async def test_positions_go_on_after_rows_were_deleted(pair: Pair) -> None:
    """Retention by hand moves the beginning; the end and the next position stay."""
    log, _ = pair
    await log.append(0, [RECORD] * 5)
    consumer = await log.consumer()
    assert await consumer.extent(0) == Extent(0, 5)
    delete = "DELETE FROM log WHERE position <= ?"
    await log._file.write(lambda c: c.execute(delete, (3,)), LogUnavailableError)
    assert await consumer.extent(0) == Extent(3, 5)
    await log._file.write(lambda c: c.execute(delete, (5,)), LogUnavailableError)
    assert await consumer.extent(0) == Extent(5, 5)
    assert await log.append(0, [RECORD]) == 5


async def test_given_up_operation_that_still_waits_is_never_run(pair: Pair) -> None:
    """An append cancelled before the writer took it is not in the log."""
    log, _ = pair
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def block(_: sqlite3.Connection) -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    blocking = asyncio.create_task(log._file.write(block, LogUnavailableError))
    await asyncio.sleep(0.05)
    given_up = asyncio.create_task(log.append(0, [RECORD]))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    release.set()
    await blocking
    assert await log.append(0, [RECORD]) == 0


def test_killed_at_any_moment_keeps_every_acknowledged_append(path: Path, tmp_path: Path) -> None:
    """After SIGKILL amid appends and applies every acknowledged record is where it was said to be, and counted once."""
    acknowledged: dict[int, str] = {}
    counted = 0
    for life in range(4):
        lines = _kill_child(path, f"life{life}", tmp_path / f"out{life}", 0.15 + 0.1 * life)
        assert lines, "the child did nothing before it was killed"
        for line in lines:
            first, second = line.split()
            if first == "counted":
                counted = max(counted, int(second))
            else:
                acknowledged[int(first)] = second
        records, dump = asyncio.run(_reopen(path))
        assert [record.position for record in records] == list(range(len(records)))
        for position, event_id in acknowledged.items():
            assert msgspec.json.decode(records[position].value)["id"] == event_id
        fence = dump["fence"]
        assert isinstance(fence, Fence)
        assert fence.position >= counted
        oracle = DictStore(Parameters())
        oracle.run(records[: fence.position], [])
        assert _plain(dump) == _plain_oracle(oracle)
    assert counted > 0


# The file.


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("PRAGMA user_version = 2", r"has schema 2, this release reads 1: upgrade"),
        ("PRAGMA application_id = 7", r"an SQLite file of another program"),
    ],
)
async def test_foreign_file_is_not_touched(path: Path, statement: str, sentence: str) -> None:
    """A file of a newer release or another program stops the start."""
    log, store = open_sqlite(path)
    await log.open()
    await log.close()
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    for port in (log, store):
        with pytest.raises(SettingsError, match=sentence):
            await port.open()
    assert not is_in_use(path)


def test_no_sqlite_file_is_not_touched(path: Path) -> None:
    """Something else under that name stops the start and stays as it is."""
    path.parent.mkdir()
    path.write_bytes(b"accounts of 2025" * 500)
    _, store = open_sqlite(path)
    with pytest.raises(SettingsError, match="no SQLite file: name another one"):
        asyncio.run(store.open())
    assert path.read_bytes() == b"accounts of 2025" * 500


async def test_file_of_another_kind_names_the_mend(tmp_path: Path) -> None:
    """A folder under that name stops the start with a sentence."""
    log, _ = open_sqlite(tmp_path)
    with pytest.raises(SettingsError, match="Is a directory: name another file"):
        await log.open()


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_file_moved_away_takes_no_more_records(
    pair: Pair, path: Path, *, is_replaced: bool
) -> None:
    """Nothing is acknowledged into a file that is no longer there."""
    log, store = pair
    await log.append(0, [RECORD])
    _move_away(path, is_replaced=is_replaced)
    with pytest.raises(LogUnavailableError, match="replaced" if is_replaced else "moved away"):
        await log.append(0, [RECORD])
    with pytest.raises(LogUnavailableError):
        await log.log_id()
    with pytest.raises(StoreUnavailableError):
        await store.head(0)


async def test_only_its_owner_reads_the_file(pair: Pair, path: Path) -> None:
    """Salts and pseudonyms are nobody else's, in the side files too."""
    log, _ = pair
    await log.append(0, [RECORD])
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


# The store.


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(log=logs(), cuts=st.lists(st.integers(1, 29), max_size=6))
def test_store_equals_dictionaries(log: list[LogRecord], cuts: list[int], tmp_path: Path) -> None:
    """After any log, cut anywhere, the tables hold what plain dictionaries hold."""
    path = tmp_path / f"{secrets.token_hex(8)}.db"
    oracle = DictStore(SMALL)
    oracle.run(log, cuts)
    dump, page_counts = asyncio.run(_run_log(path, log, cuts))
    assert _plain(dump) == _plain_oracle(oracle)
    assert page_counts == {site: len(oracle.tables["pages"].get(site, {})) for site in ("a", "b")}


@pytest.mark.usefixtures("pair")
async def test_text_cannot_be_planted_among_the_numbers(path: Path) -> None:
    """Every table is STRICT."""
    connection = sqlite3.connect(path)
    tables = connection.execute(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    assert {"log", "counter", "salt", "head"} <= {name for name, _ in tables}
    assert [name for name, is_strict in tables if not is_strict] == []
    with pytest.raises(sqlite3.IntegrityError, match="TEXT value in INTEGER column"):
        connection.execute("INSERT INTO counter VALUES (1, 'portal', 'v', 'many')")
    connection.close()


async def test_impossible_amount_stops_the_partition(pair: Pair) -> None:
    """A planted number that cannot be added to is `store_corrupt`, names its table, and nothing is written."""
    _, store = pair
    head = await store.begin(0, LOG_ID, Parameters())
    plant = "INSERT INTO counter VALUES (1, 'portal', 'v', 9223372036854775807)"
    await store._file.write(lambda c: c.execute(plant), StoreUnavailableError)
    before = await store.dump(0)
    batch = _batch(head.fence, counters={"portal": {"p": 1, "v": 1}}, ids={b"12345678": 5})
    with pytest.raises(PartitionStoppedError, match=r"counter\.amount") as caught:
        await store.apply(0, batch)
    assert caught.value.state is StoppedState.STORE_CORRUPT
    assert await store.dump(0) == before


async def test_unreadable_head_stops_the_partition(pair: Pair) -> None:
    """A head that is no JSON is `store_corrupt`, and named."""
    _, store = pair
    head = await store.begin(0, LOG_ID, Parameters())
    plant = "UPDATE head SET id_window = 'nonsense'"
    await store._file.write(lambda c: c.execute(plant), StoreUnavailableError)
    with pytest.raises(PartitionStoppedError, match="table head, generation 1"):
        await store.head(0)
    with pytest.raises(PartitionStoppedError, match="table head, generation 1"):
        await store.apply(0, _batch(head.fence))


async def test_partition_other_than_zero_is_refused(pair: Pair) -> None:
    """There is one partition."""
    log, store = pair
    with pytest.raises(ValueError, match="partition 0 only, not 1"):
        await log.append(1, [RECORD])
    with pytest.raises(ValueError, match="partition 0 only, not 1"):
        await store.head(1)


async def test_lost_head_begins_a_generation_of_its_own(pair: Pair) -> None:
    """Where the head was lost the old numbers are not added to."""
    _, store = pair
    head = await store.begin(0, LOG_ID, Parameters())
    await store.apply(0, _batch(head.fence, counters={"portal": {"v": 5}}))
    lose = "DELETE FROM head"
    await store._file.write(lambda c: c.execute(lose), StoreUnavailableError)
    assert await store.head(0) is None
    assert await store.apply(0, _batch(head.fence)) == Miss(None, 0)
    anew = await store.begin(0, LOG_ID, Parameters())
    assert anew.generation == 2
    reading = await store.read_counters(0, "portal", ["v"], 0, 1)
    assert reading is not None
    assert reading.values == (0,)


async def test_batch_from_another_fence_changes_nothing(pair: Pair) -> None:
    """Position, record and log must all be the stored ones; not a byte is written otherwise."""
    _, store = pair
    head = await store.begin(0, LOG_ID, Parameters())
    await store.apply(0, _batch(head.fence, counters={"portal": {"v": 5}}))
    stands = Fence(LOG_ID, 1, "f")
    before = await store.dump(0)
    for other in (Fence(LOG_ID, 7, "f"), Fence(LOG_ID, 1, "g"), Fence("log-2", 1, "f")):
        batch = _batch(other, counters={"portal": {"v": 1}})
        assert await store.apply(0, batch) == Miss(stands, 1)
        assert await store.touch(0, 1, other, 99) == Miss(stands, 1)
    batch = _batch(stands, generation=2, counters={"portal": {"v": 1}})
    assert await store.apply(0, batch) == Miss(stands, 1)
    assert await store.dump(0) == before


async def test_a_batch_forgets_a_bounded_number_of_rows(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due is removed in slices, the oldest first; what is left is not shown."""
    monkeypatch.setattr("services.backends.sqlite_apply.FORGET_ROWS_MAX", 3)
    _, store = pair
    head = await store.begin(0, LOG_ID, Parameters())
    old = {number.to_bytes(8, "big"): number for number in range(10)}
    days = {number: {"/": 1} for number in range(10)}
    before = _batch(head.fence, ids=old, seen={"portal": old}, page_days={"portal": days})
    await store.apply(0, before)
    late = 100 * 24 * 3_600_000
    await store.apply(0, _batch(Fence(LOG_ID, 1, "f"), log_time=late))

    def left(connection: sqlite3.Connection) -> list[list[int]]:
        return [
            [row[0] for row in connection.execute(select)]
            for select in (
                "SELECT log_time FROM id ORDER BY 1",
                "SELECT at FROM seen ORDER BY 1",
                "SELECT day FROM page_day ORDER BY 1",
            )
        ]

    assert await store._file.read(left, StoreUnavailableError) == [[3, 4, 5, 6, 7, 8, 9]] * 3
    dump = await store.dump(0)
    assert dump["ids"] == dump["seen"] == dump["page_days"] == {}


async def test_state_of_five_thousand_records_is_complete(pair: Pair) -> None:
    """However many keys are asked for, each that is there is found, and none that is not."""
    _, store = pair
    head = await store.begin(0, LOG_ID, Parameters())
    there = {number.to_bytes(8, "big"): number for number in range(0, 10_000, 2)}
    await store.apply(0, _batch(head.fence, ids=there, seen={"portal": there}))
    for size in (0, 1, 8, 9, 64, 65, 511, 512, 513, 1_025, 5_000):
        keys = [number.to_bytes(8, "big") for number in range(size)]
        asked = Wanted(ids=keys, seen={"portal": keys})
        state = await store.read_state(0, head.generation, asked)
        assert state is not None
        expected = {key: there[key] for key in keys if key in there}
        assert state.ids == expected
        assert state.seen.get("portal", {}) == expected


async def test_forgotten_salt_is_nowhere_on_the_disk(pair: Pair, path: Path) -> None:
    """After `forget_salts` no file holds the salt's bytes; younger salts stay."""
    log, store = pair
    salts = {f"2026-11-{day:02d}": secrets.token_bytes(32) for day in range(1, 29)}
    for day, salt in salts.items():
        assert await store.put_salt(day, salt) == salt
        assert await store.put_salt(day, secrets.token_bytes(32)) == salt
        await log.append(0, [RECORD] * 20)
    assert await store.salts([*salts, "2025-01-01"]) == salts
    assert any(_is_on_disk(path, salt) for salt in salts.values())
    await store.forget_salts("2026-11-27")
    kept = {day: salt for day, salt in salts.items() if day >= "2026-11-27"}
    assert await store.salts(list(salts)) == kept
    assert [day for day, salt in salts.items() if _is_on_disk(path, salt)] == sorted(kept)


async def test_salts_are_not_called_forgotten_while_a_reader_keeps_them(
    pair: Pair, path: Path
) -> None:
    """A reader of another process that holds the old state makes `forget_salts` fail, and try again."""
    _, store = pair
    salt = secrets.token_bytes(32)
    await store.put_salt("2026-11-01", salt)
    await _set_busy(store, 100)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM salt").fetchall()
    with pytest.raises(StoreUnavailableError, match="a reader holds the write-ahead log"):
        await store.forget_salts("2026-11-02")
    reader.close()
    await store.forget_salts("2026-11-02")
    assert not _is_on_disk(path, salt)


async def test_dead_letters_are_kept_once(pair: Pair, path: Path) -> None:
    """Burying again after a crash adds nothing, and a reason may quote what no UTF-8 holds."""
    log, _ = pair
    dead = [DeadRecord(LogRecord(4, 77, b"key", b"\xff\x00"), "not \ud800 a record")]
    await log.bury(0, dead)
    await log.bury(0, dead)
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT partition, position, received, reason, key, value FROM dead_letter"
    ).fetchall()
    connection.close()
    assert rows == [(0, 4, 77, "not \\ud800 a record", b"key", b"\xff\x00")]


# Helpers.


def _batch(before: Fence, *, log_time: int = 5, **tables: object) -> Batch:
    values = {
        "generation": 1,
        "before": before,
        "after": Fence(before.log_id, before.position + 1, "f"),
        "as_of": log_time,
        "log_time": log_time,
        "id_window": IdWindow(),
        "parameters": Parameters(),
    }
    return Batch(**(values | tables))  # type: ignore[arg-type]  # the tables a test names


async def _all_records(log: SqliteLog) -> list[LogRecord]:
    consumer = await log.consumer()
    await consumer.seek(0, 0)
    records: list[LogRecord] = []
    while new := [record for item in await consumer.fetch(0) for record in item.records]:
        records.extend(new)
    await consumer.close()
    return records


async def _reopen(path: Path) -> tuple[list[LogRecord], dict[str, object]]:
    log, store = open_sqlite(path)
    await log.open()
    await store.open()
    try:
        return await _all_records(log), await store.dump(0)
    finally:
        await log.close()
        await store.close()


async def _run_log(
    path: Path, log: Sequence[LogRecord], cuts: list[int]
) -> tuple[dict[str, object], dict[str, int]]:
    _, store = open_sqlite(path)
    await store.open()
    try:
        head = await store.begin(0, LOG_ID, SMALL)
        for start, end in pairwise([0, *sorted({c for c in cuts if c < len(log)}), len(log)]):
            decoded = decode_batch(log[start:end], 0, 1)
            state = await store.read_state(0, head.generation, wanted(decoded.records, SMALL))
            assert state is not None
            batch = fold(decoded, state)
            assert await store.apply(0, batch) == Applied()
            assert await store.apply(0, batch) == Applied(already=True)
        state = await store.read_state(0, head.generation, Wanted(pages={"a": [], "b": []}))
        assert state is not None
        return await store.dump(0), state.page_counts
    finally:
        await store.close()


def _plain(dump: dict[str, object]) -> dict[str, object]:
    """Return a dump without the log's identity, which every log has of its own."""
    fence = dump["fence"]
    assert isinstance(fence, Fence)
    return dump | {"fence": fence.position}


def _plain_oracle(oracle: DictStore) -> dict[str, object]:
    """Return what the dictionaries hold in the form of `CounterStore.dump`."""
    tables = {
        name: {site: dict(table) for site, table in by_site.items() if table}
        for name, by_site in oracle.tables.items()
    }
    tables["page_days"] = {
        site: kept
        for site, days in tables["page_days"].items()
        if (kept := {day: pages for day, pages in days.items() if pages})
    }
    tables["seen"] = {
        site: {visitor.hex(): at for visitor, at in seen.items()}
        for site, seen in tables["seen"].items()
    }
    return tables | {
        "ids": {key.hex(): log_time for key, log_time in oracle.ids.items()},
        "fence": oracle.head.fence.position,
        "log_time": oracle.head.log_time,
        "id_window": oracle.head.id_window,
    }


def _is_on_disk(path: Path, salt: bytes) -> bool:
    return any(salt in file.read_bytes() for file in path.parent.iterdir())


async def _set_busy(store: SqliteStore, milliseconds: int) -> None:
    """Shorten the writer's patience, so that the test need not wait for it."""
    pragma = f"PRAGMA busy_timeout = {milliseconds}"
    await store._file.write(lambda c: c.execute(pragma).fetchone(), StoreUnavailableError)


def _move_away(path: Path, *, is_replaced: bool) -> None:
    path.rename(path.with_suffix(".old"))
    if is_replaced:
        path.touch()


def _child_command(path: Path, name: str) -> list[str]:
    return [sys.executable, str(CHILD), str(path), name]


def _run_child(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _child_command(path, "second"),
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def _kill_child(path: Path, name: str, output: Path, seconds: float) -> list[str]:
    """Run a service for some time after its first word, kill it, and return its whole lines."""
    with output.open("wb") as file:
        child = subprocess.Popen(
            _child_command(path, name),
            stdout=file,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            deadline = time.monotonic() + 20
            while not output.stat().st_size and child.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(seconds)
            assert child.poll() is None, "the child ended by itself"
        finally:
            child.kill()
            child.wait()
    text = output.read_text("ascii")
    return text[: text.rfind("\n") + 1].splitlines()
