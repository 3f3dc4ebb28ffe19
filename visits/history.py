"""A site's past in steps: which periods a range of time is cut into, and which counters each is the sum of (DESIGN 4.4).

The periods of one answer lie side by side without gap or overlap, so their sum is the sum over the whole range. Days, and what is
made of days, begin as `visits.window` says; an hour ends where the local clock's hour ends, so where the clock is changed by half
an hour there is an hour of 30 min.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from visits.counters import DAY_MS, HOUR_MS, MINUTE_MS, Metric, cover_fields
from visits.errors import InputError
from visits.window import Range, day_start, local_day

POINTS_MAX = 2_000
"""The greatest number of periods of one answer: 83 days of hours, five years of days."""

FIELDS_MAX = 50_000
"""The greatest number of counters one answer is added up from: 2,000 local days of 24 buckets, and some."""


class Interval(StrEnum):
    """How long one period is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Course(Struct, frozen=True):
    """What to read for a range cut into periods.

    Attributes:
        periods: side by side, the first and the last possibly cut short by the range.
        fields: the counters to read, period by period.
        counts: how many of `fields` belong to each period.
    """

    periods: tuple[Range, ...]
    fields: tuple[str, ...]
    counts: tuple[int, ...]

    def sums(self, values: list[int]) -> list[int]:
        """Add up the values read for `fields` (0 for one that is not there) to one number a period."""
        left = iter(values)
        return [sum(next(left) for _ in range(count)) for count in self.counts]


def course(
    span: Range, zone: ZoneInfo, interval: Interval, metric: Metric, bucket_minutes: int
) -> Course:
    """Cut a range into periods and say what to read.

    Args:
        span: both ends are widened to whole buckets.
        zone: the site's zone.
        interval: how long a period is.
        metric: which counter.
        bucket_minutes: the size of a bucket.

    Raises:
        InputError: the range is empty, or gives more than `POINTS_MAX` periods or `FIELDS_MAX` counters.
    """
    size = bucket_minutes * MINUTE_MS
    start, end = span.start // size * size, -(-span.end // size) * size
    if start >= end:
        msg = "the range is empty: from must be before to"
        raise InputError(msg)
    found: list[Range] = []
    fields: list[str] = []
    counts: list[int] = []
    for period in _periods(start, end, zone, interval):
        covered = cover_fields(metric, period.start // size, period.end // size, DAY_MS // size)
        found.append(period)
        fields += covered
        counts.append(len(covered))
        if len(found) > POINTS_MAX or len(fields) > FIELDS_MAX:
            msg = (
                f"the range gives more than {POINTS_MAX} periods or is added up from more than {FIELDS_MAX} counters: "
                "ask for a shorter range or a longer interval"
            )
            raise InputError(msg)
    return Course(tuple(found), tuple(fields), tuple(counts))


def default_start(end: int, zone: ZoneInfo, interval: Interval) -> int:
    """Return where a range that ends at `end` begins if nobody says: 48 hours, 30 days, 13 weeks, 12 months or 10 years."""
    last = local_day(end - 1, zone)
    if interval is Interval.HOUR:
        return end - 48 * HOUR_MS
    if interval is Interval.DAY:
        first = last - timedelta(days=29)
    elif interval is Interval.WEEK:
        first = last - timedelta(days=last.weekday() + 12 * 7)
    elif interval is Interval.MONTH:
        months = last.year * 12 + last.month - 1 - 11
        first = date(months // 12, months % 12 + 1, 1)
    else:
        first = date(last.year - 9, 1, 1)
    return day_start(first, zone)


def _periods(start: int, end: int, zone: ZoneInfo, interval: Interval) -> Iterator[Range]:
    """Yield the periods of a range in order."""
    at = start
    while at < end:
        following = min(_end_of(at, zone, interval), end)
        yield Range(at, following)
        at = following


def _end_of(at: int, zone: ZoneInfo, interval: Interval) -> int:
    """Return the moment at which the period that holds `at` ends."""
    if interval is Interval.HOUR:
        clock = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
        return at + HOUR_MS - clock.minute * MINUTE_MS - clock.second * 1000
    day = local_day(at, zone)
    if interval is Interval.DAY:
        following = day + timedelta(days=1)
    elif interval is Interval.WEEK:
        following = day + timedelta(days=7 - day.weekday())
    elif interval is Interval.MONTH:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        following = date(day.year + 1, 1, 1)
    return day_start(following, zone)
