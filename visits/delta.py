"""Deltas: opening balances and corrections, how they spread over buckets, and what the ledger keeps of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from visits.counters import DAY_MS, MINUTE_MS, Metric, bucket_field, day_field, total_field
from visits.errors import DeltaError
from visits.record import Delta, Span
from visits.window import Range

DELTA_BUCKETS_MAX = 100_000
"""The greatest number of buckets one delta touches: ten years of hours."""


class LedgerEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the public ledger.

    Attributes:
        id: the delta's id.
        position: where it stands in its partition.
        at: when it was asked for (Unix milliseconds).
        outcome: `applied`, or `refused` as a whole.
        reason: why it was refused.
        metric: which counter; `views` where only pages change.
        n: the sum of its spans.
        start: the beginning of its earliest span; absent: before every bucket.
        end: the end of its latest span.
        spans: every one, as (n, from, to); both ends absent: before every bucket.
        pages: how many pages it changes.
        pages_n: the sum over them.
        forget: the pattern whose pages went into `(other)`.
        forgotten: how many they were.
    """

    id: str
    position: int
    at: int
    outcome: str
    metric: str
    n: int
    reason: str = ""
    start: int | None = None
    end: int | None = None
    spans: tuple[tuple[int, int | None, int | None], ...] = ()
    pages: int = 0
    pages_n: int = 0
    forget: str | None = None
    forgotten: int = 0
    who: str = ""
    why: str = ""
    evidence: str = ""
    estimated: bool = False


def spread(n: int, buckets: int) -> list[int]:
    """Spread `n` evenly over `buckets`, the remainder to the earliest; the sum is exactly `n`."""
    sign = -1 if n < 0 else 1
    each, rest = divmod(abs(n), buckets)
    return [sign * (each + (1 if index < rest else 0)) for index in range(buckets)]


def delta_amounts(delta: Delta, bucket_minutes: int) -> dict[str, int]:
    """Return what a delta adds to each counter field of its site.

    Raises:
        DeltaError: a span that is no whole number of buckets, or more buckets than `DELTA_BUCKETS_MAX`.
    """
    return span_amounts(delta.metric, delta.spans, bucket_minutes)


def span_amounts(metric: Metric, spans: Iterable[Span], bucket_minutes: int) -> dict[str, int]:
    """Return what spans add to each counter field of a metric; raises as `delta_amounts`."""
    size = bucket_minutes * MINUTE_MS
    per_day = DAY_MS // size
    amounts: dict[str, int] = {}
    touched = 0
    for span in spans:
        amounts[total_field(metric)] = amounts.get(total_field(metric), 0) + span.n
        if span.start is None and span.end is None:
            continue
        first, count = _buckets(span, size)
        touched += count
        if touched > DELTA_BUCKETS_MAX:
            msg = f"touches more than {DELTA_BUCKETS_MAX} buckets"
            raise DeltaError(msg)
        for bucket, n in enumerate(spread(span.n, count), start=first):
            if n:
                for field in (bucket_field(metric, bucket), day_field(metric, bucket // per_day)):
                    amounts[field] = amounts.get(field, 0) + n
    return amounts


def _buckets(span: Span, size: int) -> tuple[int, int]:
    """Return the first bucket of a span and how many it has."""
    if (
        span.start is None
        or span.end is None
        or span.start >= span.end
        or span.start % size
        or span.end % size
    ):
        msg = f"span {span.start} to {span.end} is no whole number of buckets of {size // MINUTE_MS} minutes"
        raise DeltaError(msg)
    return span.start // size, (span.end - span.start) // size


def opening_spans(total: int, known: Mapping[str, int], windows: Mapping[str, Range]) -> list[Span]:
    """Lay what an old counter showed into spans, so that each window reads exactly what it showed.

    The windows' starts are sorted; what a longer window has more than the next shorter one lies between their starts, and what
    the total has more lies before every bucket.

    Args:
        total: the old counter's total.
        known: window (`today`, `week`, `month`, `year`) → what it showed; those not shown are left out.
        windows: window → its range at the moment of carrying over (`visits.window.ranges`).

    Raises:
        DeltaError: a longer window or the total shows less than a shorter one, with both numbers.
    """
    order = sorted(known, key=lambda name: (-windows[name].start, known[name]))
    spans: list[Span] = []
    inner_name, inner_n = "", 0
    inner_start = max((windows[name].end for name in known), default=0)
    for name in [*order, "total"]:
        n = total if name == "total" else known[name]
        start = None if name == "total" else windows[name].start
        if n < inner_n:
            msg = f"{name} = {n} is less than {inner_name} = {inner_n}, which lies within it: correct one of the two"
            raise DeltaError(msg)
        if start is not None and start == inner_start and n != inner_n:
            msg = (
                f"{name} = {n} and {inner_name} = {inner_n} cover the same time: they must be equal"
            )
            raise DeltaError(msg)
        if n > inner_n:
            spans.append(
                Span(n - inner_n) if start is None else Span(n - inner_n, start, inner_start)
            )
        inner_name, inner_n = name, n
        inner_start = inner_start if start is None else start
    return spans
