"""The counter store in an SQLite file: every call one transaction, every decision the fold's.

The statements of reading stand in `sqlite_reading`, those of an apply in `sqlite_apply`; here is who runs them, and the little tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

import msgspec

from services.backends import sqlite_apply, sqlite_reading
from services.backends.port import Account, Applied, Miss, Reading
from services.backends.sqlite_file import Operation, Result, SqliteFile
from services.backends.sqlite_log import check_partition
from services.backends.sqlite_reading import LIVE
from visits.errors import PartitionStoppedError, StoppedState, StoreUnavailableError
from visits.fence import Fence
from visits.state import SCHEMA, Batch, Head, Meta, Parameters, State, Wanted

if TYPE_CHECKING:
    from services.backends.sqlite_generation import SqliteGenerations


class SqliteStore:
    """A `CounterStore` on a file that it shares with the log."""

    schema = SCHEMA
    _slot = LIVE

    def __init__(self, file: SqliteFile) -> None:
        """Use `file`, which `open` opens."""
        self._file = file
        self._is_open = False

    async def open(self) -> Self:
        """Open the file; see `CounterStore`."""
        if not self._is_open:
            await self._file.open(StoreUnavailableError)
            self._is_open = True
        return self

    async def meta(self) -> Meta | None:
        """Return what the store holds to."""
        return await self._read(_meta)

    async def put_meta(self, meta: Meta) -> Meta:
        """Set `meta` if there is none; return what now stands there."""

        def put(connection: sqlite3.Connection) -> Meta:
            text = msgspec.json.encode(meta).decode()
            connection.execute("INSERT OR IGNORE INTO meta VALUES (1, ?)", (text,))
            standing = _meta(connection)
            assert standing is not None
            return standing

        return await self._write(put)

    async def begin(self, partition: int, log_id: str, parameters: Parameters) -> Head:
        """Make the first generation at position 0 if there is none; return the live head."""
        check_partition(partition)
        return await self._write(
            partial(sqlite_apply.begin, log_id=log_id, parameters=parameters, slot=self._slot)
        )

    async def head(self, partition: int) -> Head | None:
        """Return the live head."""
        check_partition(partition)
        return await self._read(partial(sqlite_reading.live_head, slot=self._slot))

    async def read_state(self, partition: int, generation: int, wanted: Wanted) -> State | None:
        """Read everything `wanted` and the head of one moment; see `CounterStore`."""
        check_partition(partition)
        return await self._read(
            partial(sqlite_reading.state, generation=generation, wanted=wanted, slot=self._slot)
        )

    async def apply(self, partition: int, batch: Batch) -> Applied | Miss:
        """Apply a batch under the fence; see `CounterStore`."""
        check_partition(partition)
        return await self._write(partial(sqlite_apply.apply, batch=batch, slot=self._slot))

    async def touch(
        self, partition: int, generation: int, fence: Fence, as_of: int
    ) -> Applied | Miss:
        """Say that the numbers at `fence` hold for `as_of`; see `CounterStore`."""
        check_partition(partition)
        return await self._write(
            partial(
                sqlite_apply.touch,
                generation=generation,
                fence=fence,
                as_of=as_of,
                slot=self._slot,
            )
        )

    async def read_counters(
        self, partition: int, site: str, fields: Sequence[str], online_after: int, online_until: int
    ) -> Reading | None:
        """Read counters and who is online; see `CounterStore`."""
        check_partition(partition)
        return await self._read(
            partial(
                sqlite_reading.counters,
                site=site,
                fields=fields,
                online=(online_after, online_until),
            )
        )

    async def read_pages(self, partition: int, site: str, pages: Sequence[str]) -> Reading | None:
        """Read the views in all of some pages; see `CounterStore`."""
        check_partition(partition)
        return await self._read(partial(sqlite_reading.pages, site=site, asked=pages))

    async def read_ledger(self, partition: int, site: str) -> list[bytes]:
        """Return the ledger's entries (JSON), in no order."""
        check_partition(partition)
        return list((await self._read(partial(sqlite_reading.ledger, site=site))).values())

    async def read_books(self, partition: int, site: str) -> dict[str, int]:
        """Return all of a site's books."""
        check_partition(partition)
        return await self._read(partial(sqlite_reading.books, site=site))

    def scan_pages(
        self, partition: int, site: str, day: int | None
    ) -> AsyncIterator[dict[str, int]]:
        """Yield the views of every page in the order of their names."""
        check_partition(partition)
        return self._scan(partial(sqlite_reading.next_pages, site=site, day=day))

    def scan_counters(self, partition: int, site: str) -> AsyncIterator[dict[str, int]]:
        """Yield all counters in the order of their names."""
        check_partition(partition)
        return self._scan(partial(sqlite_reading.next_counters, site=site))

    async def read_account(
        self, partition: int, site: str, fields: Sequence[str]
    ) -> Account | None:
        """Return some counters with all books and the ledger; see `CounterStore`."""
        check_partition(partition)
        return await self._read(partial(sqlite_reading.account, site=site, fields=fields))

    async def put_salt(self, day: str, salt: bytes) -> bytes:
        """Keep a day's salt if there is none; return the one that stands there."""

        def put(connection: sqlite3.Connection) -> bytes:
            connection.execute("INSERT OR IGNORE INTO salt VALUES (?, ?)", (day, salt))
            row = connection.execute("SELECT salt FROM salt WHERE day = ?", (day,)).fetchone()
            return bytes(row[0])

        return await self._write(put)

    async def salts(self, days: Sequence[str]) -> dict[str, bytes]:
        """Return the salts there are."""
        return await self._read(
            lambda connection: sqlite_reading.lookup(
                connection, "SELECT day, salt FROM salt WHERE day > ?", "day", ("",), days
            )
        )

    async def forget_salts(self, before: str) -> None:
        """Destroy old salts: overwritten in the file (`secure_delete`), and the write-ahead log cut to nothing."""
        await self._write(
            lambda connection: connection.execute("DELETE FROM salt WHERE day < ?", (before,))
        )
        await self._file.checkpoint(StoreUnavailableError)

    async def ping(self) -> None:
        """Read one row."""
        await self._read(
            lambda connection: connection.execute("SELECT 1 FROM property LIMIT 1").fetchone()
        )

    async def dump(self, partition: int) -> dict[str, object]:
        """Return everything of the live generation; see `CounterStore`."""
        check_partition(partition)
        return await self._read(partial(sqlite_reading.dump, slot=self._slot))

    def generations(self) -> SqliteGenerations:
        """Return the generations beside the live one."""
        from services.backends.sqlite_generation import SqliteGenerations  # noqa: PLC0415  # the other way round too

        return SqliteGenerations(self._file)

    async def close(self) -> None:
        """Give the file back."""
        if self._is_open:
            self._is_open = False
            await self._file.close()

    async def _scan(
        self, following: Callable[..., dict[str, int]]
    ) -> AsyncIterator[dict[str, int]]:
        """Yield what comes after one name after the other."""
        after = ""
        while found := await self._read(partial(following, after=after)):
            yield found
            after = next(reversed(found))

    async def _read(self, operation: Operation[Result]) -> Result:
        return await self._file.read(operation, StoreUnavailableError)

    async def _write(self, operation: Operation[Result]) -> Result:
        return await self._file.write(operation, StoreUnavailableError)


def _meta(connection: sqlite3.Connection) -> Meta | None:
    row = connection.execute("SELECT meta FROM meta").fetchone()
    if row is None:
        return None
    try:
        return msgspec.json.decode(row[0], type=Meta)
    except msgspec.MsgspecError as error:
        raise PartitionStoppedError(
            StoppedState.STORE_CORRUPT, f"table meta, row 1: {error}"
        ) from error
