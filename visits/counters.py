"""The counters of a site: additive 64-bit integers, and nothing else (DESIGN 2).

A counter is a field of the site's table. Its name is the metric's letter, alone for the total, with `b` and a bucket's number
for one bucket, with `d` and a number of days since 1970-01-01 (UTC) for one UTC day: `v`, `vb495432`, `vd20643`. Day sums stand
beside the buckets so that a year is read from about 400 fields instead of 8,760.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

COUNTER_MAX = (1 << 53) - 1
"""No counter grows beyond the greatest integer that JSON readers and Redis scripts hold exactly (RFC 8259 section 6)."""


class Metric(StrEnum):
    """What is counted."""

    VIEWS = "views"
    VISITS = "visits"
    VISITORS = "visitors"


METRIC_LETTER: dict[Metric, str] = {Metric.VIEWS: "v", Metric.VISITS: "s", Metric.VISITORS: "p"}
"""The first letter of a counter's field: views, sessions (visits), persons (visitors)."""


def total_field(metric: Metric) -> str:
    """Return the field of a metric's total: carried over, counted and corrected."""
    return METRIC_LETTER[metric]


def bucket_field(metric: Metric, bucket: int) -> str:
    """Return the field of a metric in one bucket; `bucket` counts buckets since 1970-01-01 00:00 UTC."""
    return f"{METRIC_LETTER[metric]}b{bucket}"


def day_field(metric: Metric, utc_day: int) -> str:
    """Return the field of a metric's sum over one UTC day; `utc_day` counts days since 1970-01-01."""
    return f"{METRIC_LETTER[metric]}d{utc_day}"


def describe_field(field: str, buckets_per_day: int) -> str:
    """Return what a counter's field holds, for people: `visits in all`, `views of 2026-11-25T03:00Z`, `views of 2026-11-25 (UTC)`."""
    metric = next(metric for metric, letter in METRIC_LETTER.items() if letter == field[0])
    if field[1:2] == "d":
        return f"{metric} of {_utc(int(field[2:]) * DAY_MS):%Y-%m-%d} (UTC)"
    if field[1:2] == "b":
        return f"{metric} of {_utc(int(field[2:]) * (DAY_MS // buckets_per_day)):%Y-%m-%dT%H:%MZ}"
    return f"{metric} in all"


def _utc(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC)


def cover_fields(metric: Metric, first: int, end: int, buckets_per_day: int) -> list[str]:
    """Return the fewest fields whose sum is the metric over the buckets `first` to `end` - 1.

    Args:
        metric: which counter.
        first: the first bucket, inclusive.
        end: the bucket after the last one.
        buckets_per_day: 24 h divided by the bucket size.
    """
    if first >= end:
        return []
    day_first = -(-first // buckets_per_day)
    day_end = end // buckets_per_day
    if day_first >= day_end:
        return [bucket_field(metric, bucket) for bucket in range(first, end)]
    head = [bucket_field(metric, bucket) for bucket in range(first, day_first * buckets_per_day)]
    days = [day_field(metric, day) for day in range(day_first, day_end)]
    tail = [bucket_field(metric, bucket) for bucket in range(day_end * buckets_per_day, end)]
    return head + days + tail
