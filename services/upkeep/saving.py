"""Saves a Redis store into one portable file: every partition at one moment of its own, with its fence, and no salt.

The file has the tables of the embedded pair without a log; its generations are the partitions. `services.upkeep.base` reads it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import msgspec

from services.backends import sqlite_table as tables
from services.backends.generation import SHADOW_KEPT_MS, SITE_TABLES, Generations, Rows, Table
from services.backends.port import CounterStore
from services.backends.sqlite_apply import write_head
from services.backends.sqlite_schema import ADDED_SQL, BACKUP_ID, SCHEMA_SQL
from services.runtime.clock import now_ms
from services.upkeep.copy import settled
from services.upkeep.shadowing import check_schema
from visits.errors import SettingsError
from visits.state import SCHEMA, Head, Meta

KEEP_SECONDS = 5.0


async def save_store(
    store: CounterStore, target: Path, on_rows: Callable[[int], None] = lambda _n: None
) -> dict[int, int]:
    """Save a store; return partition → the position it was saved at.

    Args:
        store: open; it goes on counting.
        target: where to; replaced in one step once the file is whole and on the disk.
        on_rows: hears how many rows were written.

    Raises:
        SettingsError: nothing is counted yet, or the target cannot be written.
        StoreUnavailableError: the store does not answer.
    """
    meta = await store.meta()
    if meta is None:
        raise SettingsError("nothing is counted yet: there is nothing to back up")
    check_schema(store, meta)
    generations = store.generations()
    positions: dict[int, int] = {}
    with settled(target) as partial, closing(_new_file(partial, meta)) as connection:
        for partition in range(meta.partitions):
            head = await generations.freeze(partition, now_ms() + SHADOW_KEPT_MS)
            if head is None:
                continue
            try:
                await _save_partition(generations, partition, head, connection, on_rows)
            finally:
                await generations.keep(partition, head.generation, 0)
            while await generations.sweep(partition, now_ms()):
                pass
            positions[partition] = head.fence.position
    return positions


async def _save_partition(
    generations: Generations,
    partition: int,
    head: Head,
    connection: sqlite3.Connection,
    on_rows: Callable[[int], None],
) -> None:
    """Write a copy that stands still; the head comes last."""
    number, kept_at = partition + 1, time.monotonic()
    of_sites = [
        (table, site)
        for site in await generations.sites(partition, head.generation)
        for table in SITE_TABLES
    ]
    for table, site in [(Table.IDS, ""), *of_sites]:
        async for rows in generations.scan(partition, head.generation, table, site):
            _write(connection, number, table, site, rows)
            on_rows(len(rows))
            if time.monotonic() - kept_at > KEEP_SECONDS:
                kept_at = time.monotonic()
                await generations.keep(partition, head.generation, now_ms() + SHADOW_KEPT_MS)
    write_head(connection, msgspec.structs.replace(head, generation=number))
    connection.execute("INSERT INTO live VALUES (?, ?)", (partition, number))


def _write(
    connection: sqlite3.Connection, number: int, table: Table, site: str, rows: Rows
) -> None:
    connection.execute("BEGIN")
    tables.insert(connection, number, table, site, rows)
    connection.execute("COMMIT")


def _new_file(path: Path, meta: Meta) -> sqlite3.Connection:
    """Make an empty backup; a crash leaves a partial file that nobody takes for a whole one."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    for statement in (*SCHEMA_SQL, *ADDED_SQL):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {BACKUP_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("INSERT INTO meta VALUES (1, ?)", (msgspec.json.encode(meta).decode(),))
    connection.executemany(
        "INSERT OR REPLACE INTO property VALUES (?, ?)",
        [
            ("log_id", meta.log_id),
            ("made_at", str(now_ms())),
            ("release", version("visit-counter")),
        ],
    )
    return connection
