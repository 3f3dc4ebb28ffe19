"""The tables of a generation as `generation.Table` knows them: how they are read on, written, copied and emptied."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from services.backends.generation import ROWS_AT_ONCE, Rows, Table
from services.backends.sqlite_reading import known_days, lookup

REMOVED_AT_ONCE = 5_000
"""Rows one step removes of a table: a few milliseconds, between the appends of the process that counts."""


class _Shape(NamedTuple):
    """A table whose rows have one name and one value within a site."""

    table: str
    name: str
    value: str


_SHAPES = {
    Table.COUNTERS: _Shape("counter", "field", "amount"),
    Table.PAGES: _Shape("page", "page", "views"),
    Table.BOOKS: _Shape("book", "name", "amount"),
    Table.LEDGER: _Shape("ledger", "id", "entry"),
    Table.SEEN: _Shape("seen", "visitor", "at"),
}

_KEYS = {
    "counter": ("site, field", "amount"),
    "page": ("site, page", "views"),
    "page_day": ("day, site, page", "views"),
    "book": ("site, name", "amount"),
    "ledger": ("site, id", "entry"),
    "seen": ("site, visitor", "at"),
    "id": ("hash", "log_time"),
}

COPIED = tuple(
    f"INSERT INTO {table} (generation, {key}, {value})"  # noqa: S608  # names from above alone
    f" SELECT :copy, {key}, {value} FROM {table} WHERE generation = :live"
    for table, (key, value) in _KEYS.items()
)
"""Statements that copy the rows of a generation under another number; `page_count` follows by its trigger."""

_REMOVED = tuple(
    f"DELETE FROM {table} WHERE generation = :generation AND ({key}) IN"  # noqa: S608  # names from above alone
    f" (SELECT {key} FROM {table} WHERE generation = :generation LIMIT {REMOVED_AT_ONCE})"
    for table, (key, _value) in _KEYS.items()
)


def remove_slice(connection: sqlite3.Connection, generation: int) -> bool:
    """Remove some rows of a generation; claim that it is empty now."""
    removed = sum(
        connection.execute(statement, {"generation": generation}).rowcount for statement in _REMOVED
    )
    return removed == 0


def following(
    connection: sqlite3.Connection, generation: int, table: Table, site: str, after: Any
) -> dict[Any, Any]:
    """Return the next rows of a table, in the order of their names; `after` is the last row of the step before, or `None`."""
    if table is Table.IDS:
        log_time, key = (after[1], after[0]) if after else (-1, b"")
        found = connection.execute(
            "SELECT hash, log_time FROM id WHERE generation = ? AND (log_time, hash) > (?, ?)"
            " ORDER BY log_time, hash LIMIT ?",
            (generation, log_time, key, ROWS_AT_ONCE),
        )
        return dict(found)
    if table is Table.PAGE_DAYS:
        return _following_page_days(connection, generation, site, after)
    shape = _SHAPES[table]
    bound = "" if after is None else f" AND {shape.name} > :after"
    found = connection.execute(
        f"SELECT {shape.name}, {shape.value} FROM {shape.table} WHERE generation = :generation AND site = :site"  # noqa: S608  # names from above alone
        f"{bound} ORDER BY {shape.name} LIMIT {ROWS_AT_ONCE}",
        {"generation": generation, "site": site, "after": None if after is None else after[0]},
    )
    return dict(found)


def looked_up(
    connection: sqlite3.Connection, generation: int, table: Table, site: str, names: Sequence[Any]
) -> dict[Any, Any]:
    """Return the rows of some names that are there."""
    if table is Table.IDS:
        select = "SELECT hash, log_time FROM id WHERE generation = ?"
        return lookup(connection, select, "hash", (generation,), names)
    if table is Table.PAGE_DAYS:
        by_day: dict[int, list[str]] = {}
        for day, page in names:
            by_day.setdefault(day, []).append(page)
        select = "SELECT page, views FROM page_day WHERE generation = ? AND day = ? AND site = ?"
        return {
            (day, page): views
            for day, pages in by_day.items()
            for page, views in lookup(
                connection, select, "page", (generation, day, site), pages
            ).items()
        }
    shape = _SHAPES[table]
    select = (
        f"SELECT {shape.name}, {shape.value} FROM {shape.table} WHERE generation = ? AND site = ?"  # noqa: S608  # names from above alone
    )
    return lookup(connection, select, shape.name, (generation, site), names)


def insert(
    connection: sqlite3.Connection, generation: int, table: Table, site: str, rows: Rows
) -> None:
    """Write rows of a generation that has no fence yet; a row that comes again is the later one."""
    if table is Table.IDS:
        values = [(generation, key, at) for key, at in rows.items()]
        connection.executemany("INSERT OR REPLACE INTO id VALUES (?, ?, ?)", values)
    elif table is Table.PAGE_DAYS:
        days = [(generation, day, site, page, views) for (day, page), views in rows.items()]
        connection.executemany("INSERT OR REPLACE INTO page_day VALUES (?, ?, ?, ?, ?)", days)
    else:
        # `page` counts its rows by triggers, which REPLACE would not call for the row that goes.
        shape = _SHAPES[table]
        connection.executemany(
            f"INSERT INTO {shape.table} VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET {shape.value} = excluded.{shape.value}",  # noqa: S608  # names from above alone
            [(generation, site, name, value) for name, value in rows.items()],
        )


def sites(connection: sqlite3.Connection, generation: int) -> list[str]:
    """Return the sites with anything in a generation, sorted."""
    selects = " UNION ".join(
        f"SELECT site FROM {table} WHERE generation = :generation"  # noqa: S608  # names from above alone
        for table in _KEYS
        if table != "id"
    )
    return sorted(site for (site,) in connection.execute(selects, {"generation": generation}))


def _following_page_days(
    connection: sqlite3.Connection, generation: int, site: str, after: Any
) -> dict[tuple[int, str], int]:
    """Return the next views by page and day; the days come one after the other, as the primary key has them before the site."""
    day_before, page_before = after[0] if after else (None, "")
    found: dict[tuple[int, str], int] = {}
    for day in known_days(connection, generation):
        if day_before is not None and day < day_before:
            continue
        rows = connection.execute(
            "SELECT page, views FROM page_day WHERE generation = ? AND day = ? AND site = ? AND page > ?"
            " ORDER BY page LIMIT ?",
            (
                generation,
                day,
                site,
                page_before if day == day_before else "",
                ROWS_AT_ONCE - len(found),
            ),
        )
        found |= {(day, page): views for page, views in rows}
        if len(found) >= ROWS_AT_ONCE:
            break
    return found
