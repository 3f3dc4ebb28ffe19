"""The route of the balance: the books of a site closed, check by check and local day by local day."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response
from msgspec import Struct

from services.api.answer import negotiated
from services.api.lane import Lane
from services.api.ledger import entries_of
from services.api.parameter import FormatName
from services.api.reading import STALE_MS, Readings, starting
from services.api.table import Cell, as_csv
from services.backends.port import Account
from services.runtime.clock import now_ms
from services.runtime.site import Site
from visits.balance import (
    Books,
    Check,
    LocalDay,
    close_books,
    page_days_check,
    pages_check,
    pages_expected,
)
from visits.counters import DAY_MS
from visits.fold import COUNTED, DUPLICATE
from visits.state import Head
from visits.window import iso

DAYS_DEFAULT, DAYS_MAX = 31, 400
DIFFERING_MAX = 100
AT_ONCE = 1
REST = 2.0
"""Closing books never takes more than a third of the time, so that counting goes on beside it."""

MAY_MISS = "refusals of the last 10 s before an ingest process was killed; never a view"
EPOCH = date(1970, 1, 1)
_COLUMNS = ("day", "received", "counted", "duplicate", "refused", "views", "ledger", "difference")


class Balance(Struct, frozen=True):
    """One answer.

    Attributes:
        books: closed.
        checks: those of the books and those of the pages.
        as_of: for which the numbers hold (Unix milliseconds).
        is_stale: they are late.
    """

    books: Books
    checks: tuple[Check, ...]
    as_of: int
    is_stale: bool

    @property
    def difference(self) -> int:
        """The sum of all differences; 0 closes."""
        return sum(check.difference for check in self.checks)


class BalanceRoutes:
    """The balance of a site."""

    def __init__(self, readings: Readings) -> None:
        """Take what reads."""
        self._readings = readings
        self._lane: Lane[Balance] = Lane(at_once=AT_ONCE, rest=REST)

    async def balance(
        self,
        request: Request,
        site: str,
        days: Annotated[
            int,
            Query(ge=0, le=DAYS_MAX, description="how many local days to list; all are checked"),
        ] = DAYS_DEFAULT,
        told: FormatName = None,
    ) -> Response:
        """Close a site's books: every difference is 0 if each view was counted once."""
        declared = self._readings.site(site)
        key = (declared.id, str(declared.zone))
        kept = await self._lane.get(key, lambda: self._close(declared))
        balance = kept.value
        is_stale = balance.is_stale or kept.is_late
        listed = _listed(balance.books.days, days)
        body = _as_json(declared, balance, listed, is_stale=is_stale)
        table = as_csv(_COLUMNS, [_row(day) for day in listed])
        numbers = (balance.books, balance.checks, days, is_stale)
        return negotiated(request, told, f"{site}-balance", body, table, numbers)

    async def close(self) -> None:
        """End what is being read."""
        await self._lane.close()

    async def _close(self, site: Site) -> Balance:
        """Close the books; the pages are read between two readings of the books, since they take a while."""
        store, partition = self._readings.store, await self._readings.partition(site)
        before = await store.read_account(partition, site.id)
        if before is None:
            raise starting()
        page_views = await self._views(partition, site, None)
        by_day = {day: await self._views(partition, site, day) for day in _kept_days(before.head)}
        books = await store.read_books(partition, site.id)
        ledger = await store.read_ledger(partition, site.id)
        head = await store.head(partition)
        if head is None:
            raise starting()
        after = Account(head, {}, books, ledger)
        bucket_minutes = self._readings.configuration.settings.store.bucket_minutes
        return await asyncio.to_thread(
            _balance, site, before, after, page_views, by_day, bucket_minutes
        )

    async def _views(self, partition: int, site: Site, day: int | None) -> int:
        """Return the views of all pages."""
        seen: dict[str, int] = {}
        async for some in self._readings.store.scan_pages(partition, site.id, day):
            seen |= some  # a page may come twice in one scan
            await asyncio.sleep(0)
        return sum(seen.values())


def _balance(
    site: Site,
    before: Account,
    after: Account,
    page_views: int,
    by_day: dict[int, int],
    bucket_minutes: int,
) -> Balance:
    """Close the books from what was read."""
    entries = entries_of(before.ledger)
    books = close_books(before.counters, before.books, entries, site.zone, bucket_minutes)
    bounds = (
        pages_expected(before.books, entries),
        pages_expected(after.books, entries_of(after.ledger)),
    )
    still_kept = set(_kept_days(after.head))
    views_by_day = {
        (EPOCH + timedelta(days=day)).isoformat(): n
        for day, n in by_day.items()
        if day in still_kept
    }
    checks = (
        *books.checks,
        pages_check(page_views, bounds),
        page_days_check(views_by_day, before.books, after.books),
    )
    as_of = before.head.as_of
    return Balance(books, checks, as_of, now_ms() - as_of > STALE_MS)


def _kept_days(head: Head) -> range:
    """Return the local days whose views by page are kept, with those of zones ahead of UTC."""
    today = head.log_time // DAY_MS
    return range(today - head.parameters.page_days, today + 2)


def _listed(days: tuple[LocalDay, ...], wished: int) -> list[LocalDay]:
    """Return the last days, and before them any that do not close."""
    last = days[len(days) - min(wished, len(days)) :]
    earlier = days[: len(days) - len(last)]
    return [*[day for day in earlier if day.difference][-DIFFERING_MAX:], *last]


def _as_json(
    site: Site, balance: Balance, listed: list[LocalDay], *, is_stale: bool
) -> dict[str, Any]:
    names = dict(balance.books.names)
    counted, duplicate = names.pop(COUNTED, 0), names.pop(DUPLICATE, 0)
    return {
        "site": site.id,
        "timezone": site.settings.timezone,
        "closes": balance.difference == 0,
        "difference": balance.difference,
        "received": counted + duplicate + sum(names.values()),
        "counted": counted,
        "duplicate": duplicate,
        "refused": dict(sorted(names.items())),
        "totals": balance.books.totals,
        "checks": [_check(check) for check in balance.checks],
        "days": [_day(day) for day in listed],
        "may_miss": MAY_MISS,
        "as_of": iso(balance.as_of, site.zone),
        "stale": is_stale,
    }


def _check(check: Check) -> dict[str, Any]:
    places = [{"place": place, "left": left, "right": right} for place, left, right in check.places]
    return {
        "name": check.name,
        "what": check.what,
        "left": check.left,
        "right": check.right,
        "difference": check.difference,
        "places": places,
    }


def _day(day: LocalDay) -> dict[str, Any]:
    return {
        "day": day.day,
        "received": _received(day),
        "counted": day.counted,
        "duplicate": day.duplicate,
        "refused": day.refused,
        "views": day.views,
        "ledger": day.ledger,
        "difference": day.difference,
    }


def _row(day: LocalDay) -> list[Cell]:
    told = _day(day) | {"refused": sum(day.refused.values())}
    return [told[name] for name in _COLUMNS]


def _received(day: LocalDay) -> int:
    return day.counted + day.duplicate + sum(day.refused.values())
