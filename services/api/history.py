"""The route of a site's past: one number a period, side by side, as JSON or CSV."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response
from msgspec import Struct

from services.api.answer import Told, negotiated
from services.api.lane import PATIENCE_SECONDS, Kept, Lane
from services.api.parameter import FormatName, MetricName
from services.api.reading import STALE_MS, Readings, starting
from services.api.table import Cell, as_csv
from services.runtime.clock import now_ms
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.counters import MINUTE_MS, Metric
from visits.history import Course, Interval, course, default_start
from visits.record import MOMENT_MAX
from visits.window import Range, day_start, iso, local_day

AT_ONCE = 4
DATE = re.compile(r"\d{4}-\d\d-\d\d")

From = Annotated[
    str | None,
    Query(alias="from", description="ISO 8601; a date is the beginning of that local day"),
]
To = Annotated[
    str | None,
    Query(alias="to", description="ISO 8601; a date is the end of that local day; default: now"),
]


class Past(Struct, frozen=True):
    """One answer.

    Attributes:
        course: the periods.
        sums: one a period.
        span: what was asked, up to `moment`.
        as_of: for which the numbers hold (Unix milliseconds).
        is_stale: they are late.
    """

    course: Course
    sums: tuple[int, ...]
    span: Range
    as_of: int
    is_stale: bool


class HistoryRoutes:
    """A site's past."""

    def __init__(self, readings: Readings) -> None:
        """Take what reads."""
        self._readings = readings
        self._lane: Lane[Past] = Lane(at_once=AT_ONCE)

    async def history(
        self,
        request: Request,
        site: str,
        metric: MetricName = None,
        interval: Annotated[
            Interval, Query(description="how long one period is, in the site's local time")
        ] = Interval.DAY,
        start: From = None,
        end: To = None,
        form: FormatName = None,
    ) -> Response:
        """Read a series of periods: half-open, side by side, the running one up to now.

        Without `from`: 48 hours, 30 days, 13 weeks, 12 months or 10 years.
        """
        declared = self._readings.site(site)
        chosen = metric or declared.settings.metric
        kept = await self.past(declared, chosen, interval, start, end)
        past = kept.value
        is_stale = past.is_stale or kept.is_late
        told = Told(
            f"{site}-{chosen}-{interval}",
            lambda: _as_json(declared, chosen, interval, past, is_stale=is_stale),
            lambda: as_csv(("from", "to", chosen.value), _rows(declared, interval, past)),
            lambda: (chosen, interval, past.span.start, past.sums, is_stale),
        )
        return negotiated(request, form, kept, None, told)

    async def past(
        self,
        site: Site,
        metric: Metric,
        interval: Interval,
        start: str | None = None,
        end: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Kept[Past]:
        """Return a series as it is kept for all who ask; `start` and `end` as the route takes them.

        Raises:
            ProblemError: the range cannot be read or is empty, or too many ask.
            UnavailableError: the store is away, and nothing is kept.
        """
        asked = _asked(site, interval, start, end, now_ms())
        # A range that is still running is the same question a moment later.
        key = (site.id, str(site.zone), metric, interval, start, end)
        return await self._lane.get(
            key, lambda: self._read(site, metric, interval, asked), patience_seconds
        )

    async def close(self) -> None:
        """End what is being read."""
        await self._lane.close()

    async def _read(self, site: Site, metric: Metric, interval: Interval, asked: Range) -> Past:
        partition = await self._readings.partition(site)
        now = now_ms()
        head = await self._readings.store.head(partition)
        if head is None:
            raise starting()
        is_stale = now - head.as_of > STALE_MS
        # What is not known yet is left out: it would read as 0.
        span = Range(asked.start, min(asked.end, head.as_of if is_stale else now))
        if span.start >= span.end:
            return Past(Course((), (), ()), (), Range(span.start, span.start), head.as_of, is_stale)
        bucket_minutes = self._readings.configuration.settings.store.bucket_minutes
        cut = course(span, site.zone, interval, metric, bucket_minutes)
        reading = self._readings.held_to(
            await self._readings.store.read_counters(partition, site.id, cut.fields, 0, 0)
        )
        sums = tuple(cut.sums([value or 0 for value in reading.values]))
        size = bucket_minutes * MINUTE_MS
        covered = Range(span.start // size * size, span.end)
        return Past(cut, sums, covered, reading.as_of, is_stale)


def _asked(site: Site, interval: Interval, start: str | None, end: str | None, now: int) -> Range:
    """Return the range that is asked for.

    Raises:
        ProblemError: a moment that is none, or an empty range.
    """
    last = now if end is None else _moment(site, "to", end, days=1)
    first = (
        default_start(min(last, now), site.zone, interval)
        if start is None
        else _moment(site, "from", start, days=0)
    )
    if first >= last:
        raise ProblemError("malformed", "the range is empty: from must be before to")
    return Range(first, last)


def _moment(site: Site, name: str, text: str, *, days: int) -> int:
    """Read an ISO 8601 moment, or a date as the beginning of the local day `days` later.

    Raises:
        ProblemError: naming the parameter.
    """
    try:
        if DATE.fullmatch(text):
            found = day_start(date.fromisoformat(text) + timedelta(days=days), site.zone)
        else:
            # A `+` that was not escaped arrives as a blank.
            read = datetime.fromisoformat(text.strip().replace(" ", "+"))
            aware = read if read.tzinfo else read.replace(tzinfo=site.zone)
            found = round(aware.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise ProblemError(
            "malformed",
            f"{name}={text[:40]!r} is no ISO 8601 date or time, e.g. 2026-11-24 or 2026-11-24T08:00+07:00",
        ) from error
    if not 0 <= found <= MOMENT_MAX:
        raise ProblemError("malformed", f"{name}={text[:40]!r} is not between 1970 and 2248")
    return found


def _as_json(
    site: Site, metric: Metric, interval: Interval, past: Past, *, is_stale: bool
) -> dict[str, Any]:
    listed = [
        {"from": iso(period.start, site.zone), "to": iso(period.end, site.zone), "n": n}
        for period, n in points(past)
    ]
    return {
        "site": site.id,
        "metric": metric.value,
        "interval": interval.value,
        "timezone": site.settings.timezone,
        "from": iso(past.span.start, site.zone),
        "to": iso(past.span.end, site.zone),
        "points": listed,
        "as_of": iso(past.as_of, site.zone),
        "stale": is_stale,
    }


def points(past: Past) -> list[tuple[Range, int]]:
    """Return every period, the last one up to the moment, with its sum."""
    return [
        (Range(period.start, min(period.end, past.span.end)), n)
        for period, n in zip(past.course.periods, past.sums, strict=True)
    ]


def _rows(site: Site, interval: Interval, past: Past) -> list[tuple[Cell, ...]]:
    """Return the table's rows: whole local days as dates, first and last day, anything else as moments."""
    first = past.span.start
    has_whole_days = interval is not Interval.HOUR and first == day_start(
        local_day(first, site.zone), site.zone
    )
    if not has_whole_days:
        return [(iso(p.start, site.zone), iso(p.end, site.zone), n) for p, n in points(past)]
    return [
        (
            local_day(period.start, site.zone).isoformat(),
            local_day(period.end - 1, site.zone).isoformat(),
            n,
        )
        for period, n in points(past)
    ]
