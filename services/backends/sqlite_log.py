"""The event log in an SQLite file: one partition, `0`, whose positions are the rows' numbers less one."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from typing import Self

from services.backends.port import BATCH_RECORDS_MAX, Disk, Extent, Fetched, Identity
from services.backends.sqlite_file import SqliteFile
from visits.codec import DeadRecord, LogRecord
from visits.errors import LogUnavailableError

STATEMENT_RECORDS_MAX = 500
"""Records inserted by one statement: three variables each, of the 32,766 there may be (https://sqlite.org/limits.html)."""

GATHER_SECONDS = 0.02
"""How soon after a fetch that brought records, and all of them, the next one looks: each becomes a commit that appends wait for."""

POLL_SECONDS = 0.2
"""How often an idle consumer looks for what another process appended."""


class SqliteLog:
    """An `EventLog` on a file that it shares with the store."""

    partitions = 1
    rebuilds = 0

    def __init__(self, file: SqliteFile) -> None:
        """Use `file`, which `open` opens."""
        self._file = file
        self._is_open = False
        self._consumers: set[SqliteConsumer] = set()

    async def open(self) -> Self:
        """Open the file; see `EventLog`."""
        if not self._is_open:
            await self._file.open(LogUnavailableError)
            self._is_open = True
        return self

    async def log_id(self) -> str:
        """Return the identity that the log was given when its file was made."""
        return await self._file.read(_log_id, LogUnavailableError)

    async def identity(self) -> Identity:
        """Return the log's identity; what was committed stays, so there are no epochs."""
        return Identity(await self.log_id())

    async def disks(self) -> list[Disk]:
        """Return none: the process that has the file shows it itself (`services.runtime.resources`)."""
        return []

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        """Append records in one transaction, fsynced before it returns; see `EventLog`."""
        check_partition(partition)
        if not 0 < len(records) <= BATCH_RECORDS_MAX:
            raise ValueError(f"an append has 1 to {BATCH_RECORDS_MAX} records, not {len(records)}")

        received = _now_ms()
        if len(records) <= STATEMENT_RECORDS_MAX:
            first = await self._file.write_once(
                lambda connection: _insert(connection, received, records), LogUnavailableError
            )
        else:
            first = await self._file.write(
                lambda connection: _insert_all(connection, received, records), LogUnavailableError
            )
        for consumer in self._consumers:
            consumer.wake()
        return first

    async def bury(self, partition: int, dead: Sequence[DeadRecord]) -> None:
        """Put unreadable records into the table `dead_letter`, each position once."""
        check_partition(partition)

        def insert(connection: sqlite3.Connection) -> None:
            now = _now_ms()
            connection.executemany(
                "INSERT OR IGNORE INTO dead_letter (partition, position, received, reason, key, value, buried_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (partition, item.record.position, item.record.timestamp, _text(item.reason),
                     item.record.key, item.record.value, now)
                    for item in dead
                ],
            )  # fmt: skip

        await self._file.write(insert, LogUnavailableError)

    async def consumer(self) -> SqliteConsumer:
        """Return a reader of the one partition."""
        consumer = SqliteConsumer(self._file, self._consumers)
        self._consumers.add(consumer)
        return consumer

    async def replay(self, partition: int) -> SqliteConsumer:
        """Return a reader of the one partition."""
        check_partition(partition)
        return await self.consumer()

    async def close(self) -> None:
        """Give the file back."""
        if self._is_open:
            self._is_open = False
            await self._file.close()


class SqliteConsumer:
    """A `LogConsumer` of partition 0, which is always assigned."""

    assigned = frozenset({0})

    def __init__(self, file: SqliteFile, siblings: set[SqliteConsumer]) -> None:
        """Read from `file`; `siblings` are the consumers that an append wakes."""
        self._file = file
        self._siblings = siblings
        self._news = asyncio.Event()
        self._epoch = 0
        self._position: int | None = None
        self._gather_until = 0.0

    def wake(self) -> None:
        """Say that records were appended."""
        self._news.set()

    def generation(self, partition: int) -> int:
        """Return 1: the partition is assigned once."""
        check_partition(partition)
        return 1

    async def seek(self, partition: int, position: int) -> int:
        """Read on from `position`; see `LogConsumer`."""
        check_partition(partition)
        self._position = position
        self._epoch += 1
        self._news.set()
        return self._epoch

    async def fetch(self, wait_seconds: float) -> list[Fetched]:
        """Return what has arrived, after at most `wait_seconds`; see `LogConsumer`."""
        until = time.monotonic() + wait_seconds
        await asyncio.sleep(min(wait_seconds, self._gather_until - time.monotonic()))
        while True:
            self._news.clear()
            fetched = await self._read()
            remaining = until - time.monotonic()
            if remaining <= 0 or any(item.records for item in fetched):
                return fetched
            # Another process wakes nobody: look again now and then.
            try:
                async with asyncio.timeout(min(remaining, POLL_SECONDS)):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def extent(self, partition: int) -> Extent:
        """Return what the log holds now."""
        check_partition(partition)
        return await self._file.read(_extent, LogUnavailableError)

    async def note_position(self, positions: dict[int, int]) -> None:
        """Do nothing: no lag tool reads this file."""

    async def close(self) -> None:
        """Be woken no more."""
        self._siblings.discard(self)

    async def _read(self) -> list[Fetched]:
        position, epoch = self._position, self._epoch
        if position is None:
            return []

        def select(
            connection: sqlite3.Connection,
        ) -> tuple[list[tuple[int, int, bytes, bytes]], int]:
            rows = connection.execute(
                "SELECT position - 1, received, key, value FROM log WHERE position > ? ORDER BY position LIMIT ?",
                (position, BATCH_RECORDS_MAX),
            ).fetchall()
            return rows, _end(connection)

        rows, end = await self._file.read(select, LogUnavailableError)
        if epoch != self._epoch:
            return []
        records = tuple(LogRecord(*row) for row in rows)
        if records:
            self._position = records[-1].position + 1
            if len(records) < BATCH_RECORDS_MAX:
                self._gather_until = time.monotonic() + GATHER_SECONDS
        return [Fetched(0, epoch, records, end, _now_ms())]


def _insert(
    connection: sqlite3.Connection, received: int, records: Sequence[tuple[bytes, bytes]]
) -> int:
    """Insert some records by one statement; return the first one's position."""
    rows = ",".join(["(?,?,?)"] * len(records))
    values = [value for key, text in records for value in (received, key, text)]
    cursor = connection.execute(f"INSERT INTO log (received, key, value) VALUES {rows}", values)  # noqa: S608  # question marks alone
    assert cursor.lastrowid is not None
    # Row numbers of one statement follow each other, and a position is its row's number less one.
    return cursor.lastrowid - len(records)


def _insert_all(
    connection: sqlite3.Connection, received: int, records: Sequence[tuple[bytes, bytes]]
) -> int:
    """Insert records in as many statements as it takes, within a transaction; return the first one's position."""
    first = None
    for start in range(0, len(records), STATEMENT_RECORDS_MAX):
        position = _insert(connection, received, records[start : start + STATEMENT_RECORDS_MAX])
        first = position if first is None else first
    assert first is not None
    return first


def check_partition(partition: int) -> None:
    """Refuse every partition but the one there is.

    Raises:
        ValueError: it is not 0.
    """
    if partition != 0:
        raise ValueError(f"an SQLite file has partition 0 only, not {partition}")


def _log_id(connection: sqlite3.Connection) -> str:
    (log_id,) = connection.execute("SELECT value FROM property WHERE name = 'log_id'").fetchone()
    assert isinstance(log_id, str)
    return log_id


def _end(connection: sqlite3.Connection) -> int:
    """Return the position after the last record there ever was, were it deleted since."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'log'").fetchone()
    return 0 if row is None else int(row[0])


def _extent(connection: sqlite3.Connection) -> Extent:
    (first,) = connection.execute("SELECT min(position) FROM log").fetchone()
    end = _end(connection)
    return Extent(end if first is None else first - 1, end)


def _text(reason: str) -> str:
    """Return a text that can be stored: a reason may quote a lone surrogate."""
    return reason.encode("utf-8", "backslashreplace").decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
