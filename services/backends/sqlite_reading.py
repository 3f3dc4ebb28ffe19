"""What is read from the tables of the counter store; each function runs within one read transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from services.backends.port import Account, Reading
from visits.counters import DAY_MS
from visits.errors import PartitionStoppedError, StoppedState
from visits.fence import Fence
from visits.page import OTHER
from visits.state import Head, IdWindow, Parameters, State, Wanted

CHUNK_SIZES = (8, 64, 512)
"""How many keys one statement asks for: few sizes, so that the statements stay prepared."""

SCANNED_AT_ONCE = 2_000

LIVE, SHADOW = 0, -1
"""Which row of the table `live` names the generation meant."""

_DAYS = """WITH RECURSIVE known (day) AS (
    SELECT min(day) FROM page_day WHERE generation = :generation
    UNION ALL
    SELECT (SELECT min(day) FROM page_day WHERE generation = :generation AND day > known.day) FROM known
    WHERE known.day IS NOT NULL
) SELECT day FROM known WHERE day IS NOT NULL"""
"""Every day there is, by one look into the primary key each instead of a scan."""

_COUNTERS = "SELECT field, amount FROM counter WHERE generation = ? AND site = ?"
_PAGES = "SELECT page, views FROM page WHERE generation = ? AND site = ?"
_SEEN = "SELECT visitor, at FROM seen WHERE generation = ? AND site = ?"
_LEDGER = "SELECT id, entry FROM ledger WHERE generation = ? AND site = ?"
_BOOKS = "SELECT name, amount FROM book WHERE generation = ? AND site = ?"
_PAGE_DAY = "SELECT page, views FROM page_day WHERE generation = ? AND day = ? AND site = ?"

_window_decoder = msgspec.json.Decoder(IdWindow)
_parameters_decoder = msgspec.json.Decoder(Parameters)


def live_head(connection: sqlite3.Connection, slot: int = LIVE) -> Head | None:
    """Return the head of the live generation, or of the shadow; `None` where there is none or it has no fence.

    Raises:
        PartitionStoppedError: `store_corrupt`, naming table and row.
    """
    row = connection.execute(
        "SELECT generation, log_id, position, fingerprint, as_of, log_time, id_window, parameters"
        " FROM live JOIN head USING (generation) WHERE partition = ?",
        (slot,),
    ).fetchone()
    return None if row is None else read_head(row)


def read_head(row: tuple[Any, ...]) -> Head:
    """Read a row of the table `head`.

    Raises:
        PartitionStoppedError: `store_corrupt`, naming table and row.
    """
    generation, log_id, position, fingerprint, as_of, log_time, id_window, parameters = row
    try:
        return Head(
            generation,
            Fence(log_id, position, fingerprint),
            as_of,
            log_time,
            _window_decoder.decode(id_window),
            _parameters_decoder.decode(parameters),
        )
    except msgspec.MsgspecError as error:
        raise PartitionStoppedError(
            StoppedState.STORE_CORRUPT, f"table head, generation {generation}: {error}"
        ) from error


def lookup(
    connection: sqlite3.Connection,
    select: str,
    key: str,
    scope: tuple[object, ...],
    keys: Sequence[object],
) -> dict[Any, Any]:
    """Return the rows of a two-column `select` for many keys, the first column as key.

    Args:
        connection: within a transaction.
        select: two columns and a condition on `scope`.
        key: the column that `keys` are values of.
        scope: parameters of `select`.
        keys: any number.
    """
    found: dict[Any, Any] = {}
    start = 0
    while start < len(keys):
        left = len(keys) - start
        size = next((size for size in CHUNK_SIZES if size >= left), CHUNK_SIZES[-1])
        chunk = list(keys[start : start + size])
        # NULL equals nothing: it fills a chunk up to its size.
        chunk.extend([None] * (size - len(chunk)))
        marks = ",".join("?" * size)
        found.update(connection.execute(f"{select} AND {key} IN ({marks})", (*scope, *chunk)))
        start += size
    return found


def state(
    connection: sqlite3.Connection, generation: int, wanted: Wanted, slot: int = LIVE
) -> State | None:
    """Return what the fold wants to know, `None` when `generation` is not live."""
    head = live_head(connection, slot)
    if head is None or head.generation != generation:
        return None

    def of_sites(select: str, key: str, asked: dict[str, list[Any]]) -> dict[str, dict[Any, Any]]:
        return {
            site: found
            for site, keys in asked.items()
            if (found := lookup(connection, select, key, (generation, site), keys))
        }

    pages = of_sites(_PAGES, "page", wanted.pages)
    for site in wanted.whole_pages:
        pages[site] = dict(connection.execute(_PAGES, (generation, site)))
    return State(
        head,
        ids=lookup(
            connection, "SELECT hash, log_time FROM id WHERE generation = ?", "hash",
            (generation,), wanted.ids,
        ),
        seen=of_sites(_SEEN, "visitor", wanted.seen),
        pages=pages,
        page_counts={site: _page_count(connection, generation, site) for site in wanted.pages},
        deltas={
            site: set(found)
            for site, found in of_sites(
                "SELECT id, NULL FROM ledger WHERE generation = ? AND site = ?", "id", wanted.deltas
            ).items()
        },
        counters=of_sites(_COUNTERS, "field", wanted.counters),
        page_days={
            site: _page_days(connection, generation, site, known_days(connection, generation))
            for site in wanted.whole_pages
        },
    )  # fmt: skip


def counters(
    connection: sqlite3.Connection, site: str, fields: Sequence[str], online: tuple[int, int]
) -> Reading | None:
    """Return counters of a site, and who was seen in (after, until]; `None` where nothing is counted."""
    head = live_head(connection)
    if head is None:
        return None
    after, until = online
    (seen,) = connection.execute(
        "SELECT count(*) FROM seen INDEXED BY seen_by_at WHERE generation = ? AND at > ? AND at <= ? AND site = ?",
        (head.generation, after, until, site),
    ).fetchone()
    found = lookup(connection, _COUNTERS, "field", (head.generation, site), fields)
    return _reading(head, tuple(found.get(field, 0) for field in fields), online=seen)


def pages(connection: sqlite3.Connection, site: str, asked: Sequence[str]) -> Reading | None:
    """Return views in all of some pages of a site; `None` where nothing is counted."""
    head = live_head(connection)
    if head is None:
        return None
    found = lookup(connection, _PAGES, "page", (head.generation, site), [*asked, OTHER])
    values = tuple(found.get(page) for page in asked)
    return _reading(head, values, has_other=found.get(OTHER, 0) > 0)


def next_pages(
    connection: sqlite3.Connection, site: str, day: int | None, after: str
) -> dict[str, int]:
    """Return the views of the next pages by name, in all or of one local day; empty at the end."""
    head = live_head(connection)
    if head is None:
        return {}
    if day is None:
        return _following(connection, _PAGES, "page", (head.generation, site), after)
    return _following(connection, _PAGE_DAY, "page", (head.generation, day, site), after)


def next_counters(connection: sqlite3.Connection, site: str, after: str) -> dict[str, int]:
    """Return the next counters by name; empty at the end."""
    head = live_head(connection)
    if head is None:
        return {}
    return _following(connection, _COUNTERS, "field", (head.generation, site), after)


def _following(
    connection: sqlite3.Connection, select: str, key: str, scope: tuple[object, ...], after: str
) -> dict[str, int]:
    """Return the next rows of a two-column `select` in the order of `key`."""
    bounded = f"{select} AND {key} > ? ORDER BY {key} LIMIT {SCANNED_AT_ONCE}"
    return dict(connection.execute(bounded, (*scope, after)))


def account(connection: sqlite3.Connection, site: str, fields: Sequence[str]) -> Account | None:
    """Return some counters with all books and the ledger; `None` where nothing is counted."""
    head = live_head(connection)
    if head is None:
        return None
    scope = (head.generation, site)
    counters = lookup(connection, _COUNTERS, "field", scope, fields)
    books, ledger = (dict(connection.execute(select, scope)) for select in (_BOOKS, _LEDGER))
    return Account(head, counters, books, list(ledger.values()))


def ledger(connection: sqlite3.Connection, site: str) -> dict[str, bytes]:
    """Return a site's deltas: id → entry."""
    return _of_site(connection, _LEDGER, site)


def books(connection: sqlite3.Connection, site: str) -> dict[str, int]:
    """Return a site's books: name → amount."""
    return _of_site(connection, _BOOKS, site)


def dump(connection: sqlite3.Connection, slot: int = LIVE) -> dict[str, object]:
    """Return everything of the live generation; see `CounterStore.dump`."""
    head = live_head(connection, slot)
    if head is None:
        return {}
    generation, parameters = head.generation, head.parameters
    by_site: dict[str, dict[str, dict[Any, Any]]] = {}
    for name, select in _TABLES.items():
        table = by_site[name] = {}
        for site, key, value in connection.execute(select, (generation,)):
            table.setdefault(site, {})[key] = value
    known_after = head.id_window.known_after(head.log_time, parameters)
    seen: dict[str, dict[str, int]] = {}
    for site, visitor, at in connection.execute(
        "SELECT site, visitor, at FROM seen WHERE generation = ? AND at >= ?",
        (generation, head.log_time - parameters.seen_ms),
    ):
        seen.setdefault(site, {})[visitor.hex()] = at
    by_day: dict[str, dict[int, dict[str, int]]] = {}
    for site, day, page, views in connection.execute(
        "SELECT site, day, page, views FROM page_day WHERE generation = ? AND day >= ?",
        (generation, head.log_time // DAY_MS - parameters.page_days),
    ):
        by_day.setdefault(site, {}).setdefault(day, {})[page] = views
    ids = connection.execute(
        "SELECT hash, log_time FROM id WHERE generation = ? AND log_time > ?",
        (generation, known_after),
    )
    return {
        **by_site,
        "page_days": by_day,
        "seen": seen,
        "ids": {key.hex(): log_time for key, log_time in ids},
        "fence": head.fence,
        "log_time": head.log_time,
        "id_window": head.id_window,
    }


_TABLES = {
    "counters": "SELECT site, field, amount FROM counter WHERE generation = ?",
    "pages": "SELECT site, page, views FROM page WHERE generation = ?",
    "books": "SELECT site, name, amount FROM book WHERE generation = ?",
    "ledger": "SELECT site, id, entry FROM ledger WHERE generation = ?",
}


def _reading(
    head: Head, values: tuple[int | None, ...], *, online: int = 0, has_other: bool = False
) -> Reading:
    return Reading(
        head.fence.position,
        head.fence.log_id,
        head.generation,
        head.as_of,
        values,
        online,
        has_other,
        head.parameters.bucket_minutes,
    )


def _of_site(connection: sqlite3.Connection, select: str, site: str) -> dict[str, Any]:
    head = live_head(connection)
    return {} if head is None else dict(connection.execute(select, (head.generation, site)))


def _page_count(connection: sqlite3.Connection, generation: int, site: str) -> int:
    row = connection.execute(
        "SELECT pages FROM page_count WHERE generation = ? AND site = ?", (generation, site)
    ).fetchone()
    return 0 if row is None else int(row[0])


def known_days(connection: sqlite3.Connection, generation: int) -> list[int]:
    """Return the local days that have views by page, in order."""
    return [day for (day,) in connection.execute(_DAYS, {"generation": generation})]


def _page_days(
    connection: sqlite3.Connection, generation: int, site: str, days: Sequence[int]
) -> dict[int, dict[str, int]]:
    return {
        day: found
        for day in days
        if (found := dict(connection.execute(_PAGE_DAY, (generation, day, site))))
    }
