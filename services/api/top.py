"""The route of the most viewed pages, over whole local days or in all."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Query, Request, Response
from msgspec import Struct

from services.api.answer import Told, negotiated
from services.api.lane import PATIENCE_SECONDS, Kept, Lane
from services.api.parameter import FormatName
from services.api.reading import STALE_MS, Readings, starting
from services.api.table import as_csv
from services.runtime.clock import now_ms
from services.runtime.site import Site
from visits.codec import day_number
from visits.page import OTHER
from visits.window import Range, day_start, iso, local_day

LIMIT_DEFAULT, LIMIT_MAX = 10, 1_000
AT_ONCE = 1
REST = 2.0
"""Reading all pages of large sites never takes more than a third of the time, so that counting goes on beside it."""


class Window(StrEnum):
    """Over what pages are ranked."""

    TODAY = "today"
    WEEK = "7d"
    MONTH = "30d"
    TOTAL = "total"


Days = tuple[Sequence[int | None], Range | None]
"""The local days to read, `None` for all time, and the time they cover."""

DAYS = {Window.TODAY: 1, Window.WEEK: 7, Window.MONTH: 30}


class Ranking(Struct, frozen=True):
    """One answer.

    Attributes:
        pages: the `LIMIT_MAX` most viewed, most viewed first, then by name; without `(other)`.
        other: views of `(other)`.
        views: of all pages and `(other)`.
        count: how many pages have any.
        span: the days; `None` in all.
        as_of: for which the numbers hold (Unix milliseconds).
        is_stale: they are late.
    """

    pages: tuple[tuple[str, int], ...]
    other: int
    views: int
    count: int
    span: Range | None
    as_of: int
    is_stale: bool


class TopRoutes:
    """The most viewed pages."""

    def __init__(self, readings: Readings) -> None:
        """Take what reads."""
        self._readings = readings
        self._lane: Lane[Ranking] = Lane(at_once=AT_ONCE, rest=REST)

    async def top(
        self,
        request: Request,
        site: str,
        window: Annotated[
            Window, Query(description="today, or that many whole local days with today, or in all")
        ] = Window.MONTH,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
        form: FormatName = None,
    ) -> Response:
        """Read the most viewed pages; views without a page of their own stand apart as `other`."""
        declared = self._readings.site(site)
        kept = await self.ranking(declared, window)
        ranking = kept.value
        shown = ranking.pages[:limit]
        is_stale = ranking.is_stale or kept.is_late
        rows = [
            *((n, *line) for n, line in enumerate(shown, start=1)),
            (None, OTHER, ranking.other),
        ]
        told = Told(
            f"{site}-pages-{window}",
            lambda: _as_json(declared, window, ranking, limit, is_stale=is_stale),
            lambda: as_csv(("rank", "page", "views"), rows),
            lambda: (window, shown, ranking.other, ranking.views, is_stale),
        )
        return negotiated(request, form, kept, limit, told)

    async def ranking(
        self, site: Site, window: Window, patience_seconds: float = PATIENCE_SECONDS
    ) -> Kept[Ranking]:
        """Return the most viewed pages of a window, as they are kept for all who ask; raises as `Lane.get`."""
        key = (site.id, str(site.zone), window)
        return await self._lane.get(
            key,
            lambda: self._rank(site, lambda moment: _days(site, window, moment)),
            patience_seconds,
        )

    async def ranking_between(
        self, site: Site, first: date, last: date, patience_seconds: float = PATIENCE_SECONDS
    ) -> Kept[Ranking]:
        """Return the most viewed pages from local day to local day, as far as their views by day are kept; as `ranking`."""
        key = (site.id, str(site.zone), first, last)
        days = [day_number(day.isoformat()) for day in dates(first, last)]
        span = Range(day_start(first, site.zone), day_start(last + timedelta(days=1), site.zone))
        return await self._lane.get(
            key, lambda: self._rank(site, lambda _moment: (days, span)), patience_seconds
        )

    async def close(self) -> None:
        """End what is being read."""
        await self._lane.close()

    async def _rank(self, site: Site, days_at: Callable[[int], Days]) -> Ranking:
        store = self._readings.store
        partition = await self._readings.partition(site)
        head = await store.head(partition)
        if head is None:
            raise starting()
        now = now_ms()
        is_stale = now - head.as_of > STALE_MS
        moment = head.as_of if is_stale else now
        days, span = days_at(moment)
        views: dict[str, int] = {}
        for day in days:
            seen: dict[str, int] = {}
            async for some in store.scan_pages(partition, site.id, day):
                # A page may come twice in one scan: the later reading stands.
                seen |= some
                await asyncio.sleep(0)
            await asyncio.to_thread(_add, views, seen)
        other = views.pop(OTHER, 0)
        pages = await asyncio.to_thread(_most, views)
        total = other + sum(views.values())
        return Ranking(pages, other, total, len(views), span, head.as_of, is_stale)


def dates(first: date, last: date) -> Iterator[date]:
    """Yield every day from `first` to `last`."""
    for n in range((last - first).days + 1):
        yield first + timedelta(days=n)


def _days(site: Site, window: Window, moment: int) -> Days:
    """Return the local days to read, `None` for all time, and the time they cover."""
    if window is Window.TOTAL:
        return [None], None
    today = local_day(moment, site.zone)
    first = today - timedelta(days=DAYS[window] - 1)
    days = [day_number(day.isoformat()) for day in dates(first, today)]
    return days, Range(day_start(first, site.zone), moment)


def _add(views: dict[str, int], more: dict[str, int]) -> None:
    """Add views to views."""
    for page, n in more.items():
        views[page] = views.get(page, 0) + n


def _most(views: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Return the most viewed pages, without those that have no views."""
    ranked = heapq.nsmallest(LIMIT_MAX, views.items(), key=lambda item: (-item[1], item[0]))
    return tuple((page, n) for page, n in ranked if n > 0)


def _as_json(
    site: Site, window: Window, ranking: Ranking, limit: int, *, is_stale: bool
) -> dict[str, Any]:
    span = ranking.span
    return {
        "site": site.id,
        "window": window.value,
        "from": None if span is None else iso(span.start, site.zone),
        "to": iso(ranking.as_of if span is None else span.end, site.zone),
        "pages": [{"page": page, "views": n} for page, n in ranking.pages[:limit]],
        "other": ranking.other,
        "views": ranking.views,
        "page_count": ranking.count,
        "as_of": iso(ranking.as_of, site.zone),
        "stale": is_stale,
    }
