"""What a batch changes in the tables of the counter store; each function runs within one write transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.backends.port import Applied, Miss
from services.backends.sqlite_reading import LIVE, live_head
from visits.fence import Fence
from visits.state import Batch, Head, IdWindow, Parameters

FORGET_ROWS_MAX = 20_000
"""How many rows of a table one batch removes: more than it can add, and never so many that appends wait long."""

STATEMENT_ROWS_MAX = 500
"""Rows written by one statement: up to 5 variables each, of the 32,766 there may be (https://sqlite.org/limits.html)."""

_ADD = {
    "counter": "INSERT INTO counter VALUES {rows} ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
    "page": "INSERT INTO page VALUES {rows} ON CONFLICT DO UPDATE SET views = views + excluded.views",
    "page_day": "INSERT INTO page_day VALUES {rows} ON CONFLICT DO UPDATE SET views = views + excluded.views",
    "book": "INSERT INTO book VALUES {rows} ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
}
_SET = {
    "ledger": "INSERT INTO ledger VALUES {rows} ON CONFLICT DO UPDATE SET entry = excluded.entry",
    "seen": "INSERT INTO seen VALUES {rows} ON CONFLICT DO UPDATE SET at = excluded.at",
    "id": "INSERT INTO id VALUES {rows} ON CONFLICT DO UPDATE SET log_time = excluded.log_time",
}
_FORGET = {
    "id": "DELETE FROM id WHERE generation = :generation AND hash IN (SELECT hash FROM id"
    " WHERE generation = :generation AND log_time <= :bound ORDER BY log_time LIMIT :rows)",
    "seen": "DELETE FROM seen WHERE generation = :generation AND (site, visitor) IN (SELECT site, visitor FROM seen"
    " WHERE generation = :generation AND at < :bound ORDER BY at LIMIT :rows)",
    "page_day": "DELETE FROM page_day WHERE generation = :generation AND (day, site, page) IN"
    " (SELECT day, site, page FROM page_day"
    " WHERE generation = :generation AND day < :bound ORDER BY day LIMIT :rows)",
}


def begin(
    connection: sqlite3.Connection, log_id: str, parameters: Parameters, slot: int = LIVE
) -> Head:
    """Make the first generation if there is none; return the live head."""
    head = live_head(connection, slot)
    if head is not None:
        return head
    generation = next_generation(connection)
    head = Head(generation, Fence(log_id, 0, ""), 0, 0, IdWindow(), parameters)
    connection.execute("INSERT OR REPLACE INTO live VALUES (?, ?)", (slot, generation))
    write_head(connection, head)
    return head


def next_generation(connection: sqlite3.Connection) -> int:
    """Return a number that no generation has."""
    (last,) = connection.execute(
        "SELECT max(generation) FROM (SELECT generation FROM head UNION ALL SELECT generation FROM live"
        " UNION ALL SELECT generation FROM doomed)"
    ).fetchone()
    return (last or 0) + 1


def apply(connection: sqlite3.Connection, batch: Batch, slot: int = LIVE) -> Applied | Miss:
    """Apply a batch if it was decided by the live generation's rules and the fence equals its start."""
    head = live_head(connection, slot)
    if head is None or head.generation != batch.generation or head.parameters != batch.parameters:
        return _miss(head)
    if head.fence == batch.after:
        return Applied(already=True)
    if head.fence != batch.before or head.parameters != batch.parameters:
        return _miss(head)
    _remove(connection, batch)
    _add(connection, batch)
    _set(connection, batch)
    _forget(connection, batch)
    write_head(
        connection,
        Head(
            batch.generation,
            batch.after,
            max(head.as_of, batch.as_of),
            batch.log_time,
            batch.id_window,
            batch.parameters,
        ),
    )
    return Applied()


def touch(
    connection: sqlite3.Connection, generation: int, fence: Fence, as_of: int, slot: int = LIVE
) -> Applied | Miss:
    """Move `as_of` on under the fence; never back."""
    head = live_head(connection, slot)
    if head is None or head.generation != generation or head.fence != fence:
        return _miss(head)
    if as_of > head.as_of:
        connection.execute("UPDATE head SET as_of = ? WHERE generation = ?", (as_of, generation))
    return Applied()


def _miss(head: Head | None) -> Miss:
    return Miss(None, 0) if head is None else Miss(head.fence, head.generation)


def _remove(connection: sqlite3.Connection, batch: Batch) -> None:
    connection.executemany(
        "DELETE FROM page WHERE generation = ? AND site = ? AND page = ?",
        [
            (batch.generation, site, page)
            for site, pages in batch.pages_gone.items()
            for page in pages
        ],
    )
    connection.executemany(
        "DELETE FROM page_day WHERE generation = ? AND day = ? AND site = ? AND page = ?",
        [
            (batch.generation, day, site, page)
            for site, days in batch.page_days_gone.items()
            for day, pages in days.items()
            for page in pages
        ],
    )


def _add(connection: sqlite3.Connection, batch: Batch) -> None:
    generation = batch.generation
    _put(connection, _ADD["counter"], _rows(generation, batch.counters))
    _put(connection, _ADD["page"], _rows(generation, batch.pages))
    _put(connection, _ADD["book"], _rows(generation, batch.books))
    _put(
        connection,
        _ADD["page_day"],
        [
            (generation, day, site, page, views)
            for site, days in batch.page_days.items()
            for day, pages in days.items()
            for page, views in pages.items()
        ],
    )


def _set(connection: sqlite3.Connection, batch: Batch) -> None:
    generation = batch.generation
    _put(connection, _SET["ledger"], _rows(generation, batch.ledger))
    _put(connection, _SET["seen"], _rows(generation, batch.seen))
    ids = [(generation, key, log_time) for key, log_time in sorted(batch.ids.items())]
    _put(connection, _SET["id"], ids)


def _put(
    connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]
) -> None:
    """Write rows, as many by one statement as may be: Python's lock is let go and waited for at every one."""
    for start in range(0, len(rows), STATEMENT_ROWS_MAX):
        some = rows[start : start + STATEMENT_ROWS_MAX]
        marks = ",".join([f"({','.join('?' * len(some[0]))})"] * len(some))
        connection.execute(statement.format(rows=marks), [value for row in some for value in row])


def _forget(connection: sqlite3.Connection, batch: Batch) -> None:
    bounds = {
        "id": batch.ids_known_after,
        "seen": batch.seen_before,
        "page_day": batch.page_days_before,
    }
    for table, bound in bounds.items():
        connection.execute(
            _FORGET[table],
            {"generation": batch.generation, "bound": bound, "rows": FORGET_ROWS_MAX},
        )


def write_head(connection: sqlite3.Connection, head: Head) -> None:
    """Write the head of a generation."""
    connection.execute(
        "INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            head.generation,
            head.fence.log_id,
            head.fence.position,
            head.fence.fingerprint,
            head.as_of,
            head.log_time,
            msgspec.json.encode(head.id_window).decode(),
            msgspec.json.encode(head.parameters).decode(),
        ),
    )


def _rows(
    generation: int, table: Mapping[str, Mapping[Any, object]]
) -> list[tuple[int, str, Any, object]]:
    """Return the rows of a table by site, in the order of its primary key."""
    return [
        (generation, site, key, table[site][key])
        for site in sorted(table)
        for key in sorted(table[site])
    ]
