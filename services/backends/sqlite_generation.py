"""Generations of the store in an SQLite file: `services.backends.generation` as transactions.

Rows carry the number of their generation, so a shadow, a copy and the live one lie side by side in the same tables. What a second
process does here are short transactions between those of the one that counts; only `freeze` is a long one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import msgspec

from services.backends import sqlite_table as tables
from services.backends.generation import (
    RETIRED_KEPT_MS,
    SHADOW_KEPT_MS,
    Behind,
    Moved,
    Overview,
    Rows,
    Swapped,
    Table,
    reaches,
)
from services.backends.sqlite_apply import next_generation, write_head
from services.backends.sqlite_file import Operation, Result, SqliteFile
from services.backends.sqlite_log import check_partition
from services.backends.sqlite_reading import LIVE, SHADOW, live_head
from services.backends.sqlite_store import SqliteStore
from visits.errors import StoreUnavailableError
from visits.fence import Fence
from visits.state import Head, IdWindow, Meta, Parameters


class SqliteShadow(SqliteStore):
    """The store as seen through the shadow; opened and closed with the store itself."""

    _slot = SHADOW

    async def begin(self, partition: int, log_id: str, parameters: Parameters) -> Head:
        """Make a shadow if there is none with a fence."""
        check_partition(partition)
        until = _now_ms() + SHADOW_KEPT_MS

        def begun(connection: sqlite3.Connection) -> Head:
            head = live_head(connection, SHADOW)
            if head is None:
                generation = _new_shadow(connection, until)
                head = Head(generation, Fence(log_id, 0, ""), 0, 0, IdWindow(), parameters)
                write_head(connection, head)
            return head

        return await self._write(begun)


class SqliteGenerations:
    """All generations of the store in a file that is open."""

    def __init__(self, file: SqliteFile) -> None:
        """Use `file`, which the store has opened."""
        self._file = file

    def shadow(self) -> SqliteShadow:
        """Return the store as seen through the shadow."""
        return SqliteShadow(self._file)

    async def overview(self, partition: int) -> Overview:
        """Return which generations there are."""
        check_partition(partition)

        def read(connection: sqlite3.Connection) -> Overview:
            slots = dict(connection.execute("SELECT partition, generation FROM live"))
            doomed = dict(connection.execute("SELECT generation, at FROM doomed"))
            return Overview(slots.get(LIVE, 0), slots.get(SHADOW, 0), doomed)

        return await self._read(read)

    async def keep(self, partition: int, generation: int, until: int) -> None:
        """Put off the removal of a doomed generation."""
        check_partition(partition)
        statement = "UPDATE doomed SET at = ? WHERE generation = ?"
        await self._write(lambda connection: connection.execute(statement, (until, generation)))

    async def discard(self, partition: int) -> None:
        """Leave the shadow to be removed at once."""
        check_partition(partition)
        await self._write(_drop_shadow)

    async def swap(
        self, partition: int, generation: int, now: int, over: Fence | None = None
    ) -> Swapped | Behind | Moved:
        """Make the shadow live, if it is counted at least as far; see `Generations`."""
        check_partition(partition)
        return await self._write(partial(_swap, generation=generation, now=now, over=over))

    async def freeze(self, partition: int, until: int) -> Head | None:
        """Copy the live generation in one transaction."""
        check_partition(partition)

        def copy(connection: sqlite3.Connection) -> Head | None:
            live = live_head(connection)
            if live is None:
                return None
            head = msgspec.structs.replace(live, generation=next_generation(connection))
            for statement in tables.COPIED:
                connection.execute(statement, {"copy": head.generation, "live": live.generation})
            write_head(connection, head)
            _doom(connection, head.generation, until)
            return head

        return await self._write(copy)

    async def sweep(self, partition: int, now: int) -> bool:
        """Remove a slice of what is doomed; see `Generations`."""
        check_partition(partition)
        is_due = "SELECT 1 FROM doomed WHERE at <= ? LIMIT 1"
        if not await self._read(lambda connection: connection.execute(is_due, (now,)).fetchone()):
            return False
        return await self._write(partial(_sweep, now=now))

    async def sites(self, partition: int, generation: int) -> list[str]:
        """Return the sites with anything."""
        del partition
        return await self._read(partial(tables.sites, generation=generation))

    async def scan(
        self, partition: int, generation: int, table: Table, site: str
    ) -> AsyncIterator[dict[Any, Any]]:
        """Yield a table in the order of its names, ids by their log time."""
        del partition
        after = None
        while found := await self._read(
            partial(tables.following, generation=generation, table=table, site=site, after=after)
        ):
            after = next(reversed(found.items()))
            yield found

    async def look_up(
        self, partition: int, generation: int, table: Table, site: str, names: Sequence[Any]
    ) -> dict[Any, Any]:
        """Return the rows of some names."""
        del partition
        return await self._read(
            partial(tables.looked_up, generation=generation, table=table, site=site, names=names)
        )

    async def start_load(self, partition: int, now: int) -> int:
        """Make a shadow without a fence."""
        check_partition(partition)
        return await self._write(partial(_new_shadow, until=now + SHADOW_KEPT_MS))

    async def load(
        self, partition: int, generation: int, table: Table, site: str, rows: Rows, head: Head
    ) -> None:
        """Put rows into a shadow without a fence."""
        del partition, head
        await self._write(
            partial(tables.insert, generation=generation, table=table, site=site, rows=rows)
        )

    async def finish_load(self, partition: int, generation: int, head: Head) -> None:
        """Give a loaded shadow its fence."""
        check_partition(partition)

        def finish(connection: sqlite3.Connection) -> None:
            if _slot(connection, SHADOW) != generation:
                raise StoreUnavailableError(f"generation {generation} is no longer the shadow")
            write_head(connection, msgspec.structs.replace(head, generation=generation))

        await self._write(finish)

    async def replace_meta(self, meta: Meta) -> None:
        """Set what the store holds to."""
        text = msgspec.json.encode(meta).decode()
        statement = "INSERT OR REPLACE INTO meta VALUES (1, ?)"
        await self._write(lambda connection: connection.execute(statement, (text,)))

    async def note_backup(self, at: int) -> None:
        """Note when the last backup was complete."""
        statement = "INSERT OR REPLACE INTO property VALUES ('backed_up_at', ?)"
        await self._write(lambda connection: connection.execute(statement, (str(at),)))

    async def backed_up_at(self) -> int:
        """Return when the last backup was complete."""
        select = "SELECT value FROM property WHERE name = 'backed_up_at'"
        row = await self._read(lambda connection: connection.execute(select).fetchone())
        return 0 if row is None else int(row[0])

    async def _read(self, operation: Operation[Result]) -> Result:
        return await self._file.read(operation, StoreUnavailableError)

    async def _write(self, operation: Operation[Result]) -> Result:
        return await self._file.write(operation, StoreUnavailableError)


def _slot(connection: sqlite3.Connection, slot: int) -> int:
    row = connection.execute("SELECT generation FROM live WHERE partition = ?", (slot,)).fetchone()
    return 0 if row is None else int(row[0])


def _doom(connection: sqlite3.Connection, generation: int, at: int) -> None:
    connection.execute("INSERT OR REPLACE INTO doomed VALUES (?, ?)", (generation, at))


def _drop_shadow(connection: sqlite3.Connection) -> None:
    shadow = _slot(connection, SHADOW)
    if shadow:
        _doom(connection, shadow, 0)
        connection.execute("DELETE FROM live WHERE partition = ?", (SHADOW,))


def _new_shadow(connection: sqlite3.Connection, until: int) -> int:
    """Make a shadow without a fence; a former one is left to be removed."""
    _drop_shadow(connection)
    generation = next_generation(connection)
    connection.execute("INSERT INTO live VALUES (?, ?)", (SHADOW, generation))
    _doom(connection, generation, until)
    return generation


def _swap(
    connection: sqlite3.Connection, generation: int, now: int, over: Fence | None
) -> Swapped | Behind | Moved:
    shadow, live = live_head(connection, SHADOW), live_head(connection)
    if shadow is None or shadow.generation != generation:
        return Moved()
    if live is not None and live.fence != over:
        if not reaches(shadow.fence, live.fence):
            return Behind(live.fence)
        as_of = max(shadow.as_of, live.as_of)
        write_head(connection, msgspec.structs.replace(shadow, as_of=as_of))
    former = _slot(connection, LIVE)
    if former:
        _doom(connection, former, now + RETIRED_KEPT_MS)
    connection.execute("INSERT OR REPLACE INTO live VALUES (?, ?)", (LIVE, generation))
    connection.execute("DELETE FROM live WHERE partition = ?", (SHADOW,))
    connection.execute("DELETE FROM doomed WHERE generation = ?", (generation,))
    return Swapped(generation)


def _sweep(connection: sqlite3.Connection, now: int) -> bool:
    row = connection.execute(
        "SELECT generation FROM doomed WHERE at <= ? ORDER BY at LIMIT 1", (now,)
    ).fetchone()
    if row is None:
        return False
    (generation,) = row
    if generation == _slot(connection, SHADOW):
        _drop_shadow(connection)
    if generation != _slot(connection, LIVE):
        if not tables.remove_slice(connection, generation):
            return True
        for table in ("head", "page_count"):
            connection.execute(f"DELETE FROM {table} WHERE generation = ?", (generation,))  # noqa: S608  # two names
    connection.execute("DELETE FROM doomed WHERE generation = ?", (generation,))
    return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
