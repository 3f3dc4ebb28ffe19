"""Holds two generations of a partition against each other: by site and counter, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from services.backends.generation import SITE_TABLES, Generations, Table
from visits.counters import DAY_MS, MINUTE_MS, describe_field
from visits.state import Head

Value = int | str


class Difference(Struct, frozen=True):
    """One number that the store and the log do not agree on.

    Attributes:
        site: whose; empty where it is the partition's.
        what: which counter, for people.
        store: what the store has.
        log: what the log amounts to.
    """

    site: str
    what: str
    store: Value
    log: Value


async def differences(
    generations: Generations,
    partition: int,
    store: Head,
    log: Head,
    sign: Callable[[], Awaitable[None]],
) -> AsyncIterator[Difference]:
    """Yield where a generation of the store differs from one folded from the log to the same position.

    What is forgotten by log time is passed over, whether or not it was removed already; an amount of 0 is as good as none.

    Args:
        generations: of both.
        partition: which.
        store: the head of the one that was counted live.
        log: the head of the one that was folded.
        sign: awaited now and then: gives a sign of life, or ends the comparison where a generation was taken away.
    """
    for what in ("fence", "log_time", "id_window", "parameters"):
        mine, its = getattr(store, what), getattr(log, what)
        if mine != its:
            yield Difference("", f"{what} of partition {partition}", str(mine), str(its))
    pair = (store.generation, log.generation)
    sites = {site for each in pair for site in await generations.sites(partition, each)}
    for table, of in ((Table.IDS, ("",)), *((table, sorted(sites)) for table in SITE_TABLES)):
        for site in of:
            hidden = 0
            await sign()
            async for name, one, other in _unequal(generations, partition, table, site, store, log):
                await sign()
                if table in {Table.SEEN, Table.IDS}:
                    # Pseudonyms and ids are nobody's business; how many differ is.
                    hidden += 1
                else:
                    yield Difference(site, _told(table, name, store), _shown(one), _shown(other))
            if hidden:
                what = "readers last seen" if table is Table.SEEN else "event ids known"
                yield Difference(site, f"{what} of partition {partition}", "differ", str(hidden))


async def _unequal(
    generations: Generations, partition: int, table: Table, site: str, store: Head, log: Head
) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Yield (name, store's, log's) where they differ."""
    async for some in generations.scan(partition, store.generation, table, site):
        mine = _kept(table, some, store)
        its = await generations.look_up(partition, log.generation, table, site, list(mine))
        for name, value in mine.items():
            if not _same(value, its.get(name)):
                yield name, value, its.get(name)
    async for some in generations.scan(partition, log.generation, table, site):
        its = _kept(table, some, log)
        mine = await generations.look_up(partition, store.generation, table, site, list(its))
        for name, value in its.items():
            if name not in mine and not _same(None, value):
                yield name, None, value


def _kept(table: Table, rows: Mapping[Any, Any], head: Head) -> dict[Any, Any]:
    """Leave out what is forgotten by log time."""
    parameters = head.parameters
    if table is Table.SEEN:
        oldest = head.log_time - parameters.seen_ms
        return {name: at for name, at in rows.items() if at >= oldest}
    if table is Table.IDS:
        known_after = head.id_window.known_after(head.log_time, parameters)
        return {name: at for name, at in rows.items() if at > known_after}
    if table is Table.PAGE_DAYS:
        first = head.log_time // DAY_MS - parameters.page_days
        return {name: views for name, views in rows.items() if name[0] >= first}
    return dict(rows)


def _same(one: Any, other: Any) -> bool:
    return one == other or (not one and not other)


def _told(table: Table, name: Any, head: Head) -> str:
    """Return what a row is, for people."""
    if table is Table.COUNTERS:
        return describe_field(name, DAY_MS // (head.parameters.bucket_minutes * MINUTE_MS))
    if table is Table.PAGES:
        return f"views of {name}"
    if table is Table.PAGE_DAYS:
        day, page = name
        return f"views of {page} on {datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}"
    return f"books: {name}" if table is Table.BOOKS else f"ledger entry {name}"


def _shown(value: Any) -> Value:
    """Return a value as it is printed: 0 for no amount, the text of a ledger entry."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return 0 if value is None else int(value)
