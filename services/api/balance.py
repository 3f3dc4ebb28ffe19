"""The route of the balance: the books of a site closed, check by check and local day by local day."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response
from msgspec import Struct

from services.api.answer import Told, negotiated
from services.api.lane import PATIENCE_SECONDS, Kept, Lane
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
from visits.counters import DAY_MS, MINUTE_MS, Metric, bucket_field, day_field, total_field
from visits.errors import StoreUnavailableError
from visits.fold import COUNTED, DUPLICATE
from visits.state import Head
from visits.window import iso

DAYS_DEFAULT, DAYS_MAX = 31, 400
DIFFERING_MAX = 100
AT_ONCE = 1
REST = 2.0
"""Closing books never takes more than a third of the time, so that counting goes on beside it."""

TRIES = 3
RECENT_DAYS = 3
"""Batches take views of the last 24 h (DESIGN 4.3); older counters change by corrections alone."""

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


class _Found(Struct, frozen=True):
    """What was read.

    Attributes:
        before: books and ledger before the rest was read.
        after: books and ledger afterwards, with the counters that views still change.
        counters: all.
        page_views: of all pages.
        views_by_day: local day → views of all pages.
    """

    before: Account
    after: Account
    counters: dict[str, int]
    page_views: int
    views_by_day: dict[int, int]


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
        form: FormatName = None,
    ) -> Response:
        """Close a site's books: every difference is 0 if each view was counted once."""
        declared = self._readings.site(site)
        kept = await self.closed(declared)
        balance = kept.value
        is_stale = balance.is_stale or kept.is_late
        listed = _listed(balance.books.days, days)
        told = Told(
            f"{site}-balance",
            lambda: _as_json(declared, balance, listed, is_stale=is_stale),
            lambda: as_csv(_COLUMNS, [_row(day) for day in listed]),
            lambda: (balance.books, balance.checks, days, is_stale),
        )
        return negotiated(request, form, kept, days, told)

    async def closed(self, site: Site, patience_seconds: float = PATIENCE_SECONDS) -> Kept[Balance]:
        """Return the closed books, as they are kept for all who ask; raises as `Lane.get`."""
        key = (site.id, str(site.zone))
        return await self._lane.get(key, lambda: self._close(site), patience_seconds)

    async def close(self) -> None:
        """End what is being read."""
        await self._lane.close()

    async def _close(self, site: Site) -> Balance:
        """Close the books, again where a correction was counted meanwhile.

        Raises:
            StoreUnavailableError: corrections come all the time.
        """
        partition = await self._readings.partition(site)
        for _ in range(TRIES):
            found = await self._read(partition, site)
            before, after = found.before, found.after
            if (before.head.generation, len(before.ledger)) == (
                after.head.generation,
                len(after.ledger),
            ):
                return await asyncio.to_thread(_balance, site, found)
        raise StoreUnavailableError("corrections are being counted: ask again")

    async def _read(self, partition: int, site: Site) -> _Found:
        """Read all tables of a site.

        Counters and pages are many, and read some at a time, so that neither the store nor this process stands still. Those that
        views still change, of the last days, are read once more at the end, in one atomic step with the books and the ledger.
        """
        store = self._readings.store
        before = await store.read_account(partition, site.id, ())
        if before is None:
            raise starting()
        counters: dict[str, int] = {}
        async for some in store.scan_counters(partition, site.id):
            counters |= some
            await asyncio.sleep(0)
        page_views = await self._views(partition, site, None)
        by_day = {day: await self._views(partition, site, day) for day in _kept_days(before.head)}
        recent = _recent_fields(before.head)
        after = await store.read_account(partition, site.id, recent)
        if after is None:
            raise starting()
        for field in recent:
            counters.pop(field, None)
        return _Found(before, after, counters | after.counters, page_views, by_day)

    async def _views(self, partition: int, site: Site, day: int | None) -> int:
        """Return the views of all pages."""
        seen: dict[str, int] = {}
        async for some in self._readings.store.scan_pages(partition, site.id, day):
            seen |= some  # a page may come twice in one scan
            await asyncio.sleep(0)
        return sum(seen.values())


def _balance(site: Site, found: _Found) -> Balance:
    """Close the books from what was read."""
    before, after = found.before, found.after
    entries = entries_of(after.ledger)
    bucket_minutes = after.head.parameters.bucket_minutes
    books = close_books(found.counters, after.books, entries, site.zone, bucket_minutes)
    bounds = [pages_expected(account.books, entries) for account in (before, after)]
    still_kept = set(_kept_days(after.head))
    views_by_day = {
        (EPOCH + timedelta(days=day)).isoformat(): n
        for day, n in found.views_by_day.items()
        if day in still_kept
    }
    checks = (
        *books.checks,
        pages_check(found.page_views, bounds),
        page_days_check(views_by_day, before.books, after.books),
    )
    as_of = after.head.as_of
    return Balance(books, checks, as_of, now_ms() - as_of > STALE_MS)


def _recent_fields(head: Head) -> list[str]:
    """Return the counters that views may still change while they are read; all others are changed by corrections only."""
    size = head.parameters.bucket_minutes * MINUTE_MS
    first, last = head.log_time - RECENT_DAYS * DAY_MS, head.log_time + DAY_MS
    fields = [total_field(metric) for metric in Metric]
    for metric in Metric:
        fields += [bucket_field(metric, n) for n in range(first // size, last // size + 1)]
        fields += [day_field(metric, n) for n in range(first // DAY_MS, last // DAY_MS + 1)]
    return fields


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
