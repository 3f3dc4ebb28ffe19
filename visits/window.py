"""Which buckets today, yesterday, week, month and year cover, by the calendar or rolling (DESIGN 2).

All windows are half-open and end with the bucket of the moment they are asked for. A local day begins at
`datetime(y, m, d, tzinfo=zone, fold=0)` turned to UTC, so days of 0, 23, 24.5 and 25 h follow by themselves.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from visits.counters import DAY_MS, MINUTE_MS, Metric, cover_fields, total_field

BUCKET_MINUTES_ALLOWED = (60, 30, 15)
ROLLING_DAYS = {"week": 7, "month": 30, "year": 365}
"""Lengths of the rolling windows in days of 24 h."""

ZONE_YEARS_CHECKED = 10
"""How many years ahead a site's zone is checked against the bucket size."""


class Windows(StrEnum):
    """How week, month and year are cut."""

    ROLLING = "rolling"
    CALENDAR = "calendar"


class Range(Struct, frozen=True):
    """A half-open range of time, both ends in Unix milliseconds."""

    start: int
    end: int


@lru_cache(maxsize=65_536)
def day_start(day: date, zone: ZoneInfo) -> int:
    """Return the moment (Unix milliseconds) at which a local day begins.

    Where midnight does not exist, the day begins with the change of the clock; where it comes twice, with the first one.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone, fold=0)
    return round(midnight.timestamp() * 1000)


def local_day(at: int, zone: ZoneInfo) -> date:
    """Return the local day that holds a moment (Unix milliseconds): the last one that has begun.

    The clock's own date differs where a change of the clock leads back over midnight, and on a day of no length.
    """
    day = datetime.fromtimestamp(at / 1000, zone).date()
    while day_start(day + timedelta(days=1), zone) <= at:
        day += timedelta(days=1)
    while day_start(day, zone) > at:
        day -= timedelta(days=1)
    return day


def ranges(now: int, zone: ZoneInfo, windows: Windows, bucket_minutes: int) -> dict[str, Range]:
    """Return the five windows that end with the bucket of `now`.

    Args:
        now: Unix milliseconds.
        zone: the site's zone.
        windows: rolling or by the calendar; today and yesterday are always by the calendar.
        bucket_minutes: the size of a bucket.

    Returns:
        `today`, `yesterday`, `week`, `month`, `year` → range; all ends are ends of buckets.
    """
    size = bucket_minutes * MINUTE_MS
    end = (now // size + 1) * size
    today = local_day(now, zone)
    starts_at = {"today": day_start(today, zone)}
    if windows is Windows.ROLLING:
        starts_at |= {name: end - days * DAY_MS for name, days in ROLLING_DAYS.items()}
    else:
        starts_at |= {
            "week": day_start(today - timedelta(days=today.weekday()), zone),
            "month": day_start(today.replace(day=1), zone),
            "year": day_start(today.replace(month=1, day=1), zone),
        }
    found = {name: Range(start, end) for name, start in starts_at.items()}
    found["yesterday"] = Range(day_start(today - timedelta(days=1), zone), starts_at["today"])
    return {name: found[name] for name in ("today", "yesterday", "week", "month", "year")}


class Plan(Struct, frozen=True):
    """What to read for one answer, and how to add it up.

    Attributes:
        fields: the counters to read, each once; the last one is the total.
        windows: window → indexes into `fields`.
        ranges: window → its range.
    """

    fields: tuple[str, ...]
    windows: dict[str, tuple[int, ...]]
    ranges: dict[str, Range]

    def sums(self, values: list[int]) -> dict[str, int]:
        """Add up the values read for `fields` (0 for one that is not there) to one number a window, and the total."""
        added = {
            name: sum([values[index] for index in indexes])
            for name, indexes in self.windows.items()
        }
        added["total"] = values[-1]
        return added


@lru_cache(maxsize=4096)
def plan(
    bucket: int, zone: ZoneInfo, windows: Windows, metric: Metric, bucket_minutes: int
) -> Plan:
    """Return what to read for all windows that end with `bucket`; the same for every moment of that bucket.

    Valid because a local day never begins within a bucket: `check_zone` refuses zones where it would.
    """
    size = bucket_minutes * MINUTE_MS
    found = ranges(bucket * size, zone, windows, bucket_minutes)
    index: dict[str, int] = {}
    covered: dict[str, tuple[int, ...]] = {}
    for name, span in found.items():
        fields = cover_fields(metric, span.start // size, span.end // size, DAY_MS // size)
        covered[name] = tuple(index.setdefault(field, len(index)) for field in fields)
    return Plan((*index, total_field(metric)), covered, found)


@lru_cache(maxsize=4096)
def check_zone(zone: ZoneInfo, bucket_minutes: int, year: int) -> date | None:
    """Return the first local day from `year` on, ten years ahead, that does not begin with a bucket; `None` is good."""
    size = bucket_minutes * MINUTE_MS
    day = date(year, 1, 1)
    for _ in range(366 * (ZONE_YEARS_CHECKED + 1)):
        if day_start(day, zone) % size:
            return day
        day += timedelta(days=1)
    return None


def iso(moment: int, zone: ZoneInfo | None = None) -> str:
    """Return a moment (Unix milliseconds) as ISO 8601 with offset, in `zone` or UTC."""
    return datetime.fromtimestamp(moment / 1000, zone or UTC).isoformat(
        timespec="milliseconds" if moment % 1000 else "seconds"
    )
