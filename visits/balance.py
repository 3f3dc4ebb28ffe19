"""Closing the books of a site: what must be equal if every view was counted once, and by how much it is not (DESIGN 1, 3.3).

Each check compares sides that the fold writes apart: totals, buckets, UTC days, the books by local day, views by page, views by page
and day, and the ledger, from whose spans the amounts in every bucket are worked out anew. A difference is the sum of the
absolute differences of all places, so that two mistakes never cancel; 0 closes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from visits.counters import DAY_MS, METRIC_LETTER, MINUTE_MS, Metric
from visits.delta import LedgerEntry, span_amounts
from visits.fold import COUNTED, DUPLICATE
from visits.record import Span
from visits.window import day_start, local_day

PLACES_MAX = 20
"""How many places of a difference are named."""

DAY_LENGTH = len("2026-11-24")


class Check(Struct, frozen=True):
    """Two sides that must be equal.

    Attributes:
        name: which check.
        what: the two sides in words.
        left: the sum of the left side over all places.
        right: of the other.
        difference: the sum of the absolute differences of all places.
        places: the first places that differ, with both sides.
    """

    name: str
    what: str
    left: int
    right: int
    difference: int
    places: tuple[tuple[str, int, int], ...] = ()


class Total(Struct, frozen=True):
    """How a metric's total came about.

    Attributes:
        carried_over: added by the ledger with evidence: opening balances and imports.
        counted: counted here; views by the books, the others as what is left.
        corrected: changed by the ledger otherwise.
        total: what the counter says.
    """

    carried_over: int
    counted: int
    corrected: int
    total: int


class LocalDay(Struct, frozen=True):
    """The books of one local day.

    Attributes:
        day: ISO 8601.
        views: what the buckets of the day hold.
        ledger: how many of them stand in the ledger.
        counted: what the books say was counted.
        duplicate: repeats of an id.
        refused: reason → how many.
        difference: views - ledger - counted.
    """

    day: str
    views: int
    ledger: int
    counted: int
    duplicate: int
    refused: dict[str, int]

    @property
    def difference(self) -> int:
        """Views that nobody counted, or counted views that are not there."""
        return self.views - self.ledger - self.counted


class Books(Struct, frozen=True):
    """The closed books of a site.

    Attributes:
        totals: metric → how its total came about.
        days: every local day with anything, in order.
        checks: every check.
        names: name → how many requests ended so, in all.
    """

    totals: dict[Metric, Total]
    days: tuple[LocalDay, ...]
    checks: tuple[Check, ...]
    names: dict[str, int]


def close_books(
    counters: Mapping[str, int],
    books: Mapping[str, int],
    ledger: Sequence[LedgerEntry],
    zone: ZoneInfo,
    bucket_minutes: int,
) -> Books:
    """Close the books of a site, but for its pages.

    Args:
        counters: the site's table, whole.
        books: likewise.
        ledger: every entry.
        zone: the site's.
        bucket_minutes: the size of a bucket.
    """
    applied = [entry for entry in ledger if entry.outcome == "applied"]
    tables, unknown = _tables(counters)
    by_day, in_all = _split(books)
    entered = {
        metric: _tables(_entered(applied, metric, bucket_minutes))[0][metric] for metric in Metric
    }
    per_day = DAY_MS // (bucket_minutes * MINUTE_MS)
    days = _local_days(
        tables[Metric.VIEWS].buckets, entered[Metric.VIEWS].buckets, by_day, zone, bucket_minutes
    )
    counted = in_all.get(COUNTED, 0)
    checks = [
        _check(
            "total_views",
            "views in the ledger + views counted = total",
            {"views": entered[Metric.VIEWS].total + counted},
            {"views": tables[Metric.VIEWS].total},
        )
    ]
    for metric, table in tables.items():
        before_every_bucket = entered[metric].total - sum(entered[metric].buckets.values())
        checks += [
            _check(
                f"buckets_{metric}",
                f"{metric} in all buckets + those before every bucket = total",
                {metric.value: sum(table.buckets.values()) + before_every_bucket},
                {metric.value: table.total},
            ),
            _check(
                f"utc_days_{metric}",
                f"{metric} of each UTC day = those in its buckets",
                table.days,
                _days(table, per_day),
            ),
        ]
    checks += [
        _check(
            "local_days",
            "views in the buckets of each local day - those in the ledger = views counted on it",
            {day.day: day.views - day.ledger for day in days},
            {day.day: day.counted for day in days},
        ),
        _check(
            "books",
            "requests by how they ended, over all local days = in all",
            _over_days(by_day),
            in_all,
        ),
        _check(
            "ledger",
            "amount of each ledger entry = the sum of its spans",
            {entry.id: entry.n for entry in ledger},
            {entry.id: sum(n for n, _, _ in entry.spans) for entry in ledger},
        ),
        _check("fields", "counters without a meaning = none", unknown, {}),
    ]
    totals = {metric: _total(applied, metric, tables[metric].total, counted) for metric in Metric}
    return Books(totals, tuple(days), tuple(checks), dict(in_all))


def pages_expected(books: Mapping[str, int], ledger: Iterable[LedgerEntry]) -> int:
    """Return how many views all pages of a site have together, by the books and the ledger."""
    entered = sum(entry.pages_n for entry in ledger if entry.outcome == "applied")
    return entered + books.get(COUNTED, 0)


def pages_check(views: int, bounds: Sequence[int]) -> Check:
    """Compare the views of all pages with what is expected of them, shortly before and shortly after they were read."""
    expected = between(views, bounds)
    return _check(
        "pages",
        "views of all pages = page views in the ledger + views counted",
        {"pages": views},
        {"pages": expected},
    )


def page_days_check(
    views: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]
) -> Check:
    """Compare the views of all pages of each local day with the books, as they were before and after the pages were read."""
    expected = {
        day: between(n, [books.get(f"{day}:{COUNTED}", 0) for books in (before, after)])
        for day, n in views.items()
    }
    return _check(
        "page_days", "views of all pages on each local day = views counted on it", views, expected
    )


def between(n: int, bounds: Sequence[int]) -> int:
    """Return the number within the bounds that is nearest to `n`."""
    return min(max(n, min(bounds)), max(bounds))


class _Table(Struct):
    """One metric's fields."""

    total: int
    buckets: dict[int, int]
    days: dict[str, int]


def _tables(counters: Mapping[str, int]) -> tuple[dict[Metric, _Table], dict[str, int]]:
    """Sort the fields by metric and kind; return also those that mean nothing."""
    letters = {letter: metric for metric, letter in METRIC_LETTER.items()}
    tables = {metric: _Table(0, {}, {}) for metric in Metric}
    unknown: dict[str, int] = {}
    for field, n in counters.items():
        metric = letters.get(field[:1])
        kind, number = field[1:2], field[2:]
        if metric is None or (kind and not (kind in "bd" and number.isdecimal())):
            unknown[field] = n or 1
        elif not kind:
            tables[metric].total = n
        elif kind == "b":
            tables[metric].buckets[int(number)] = n
        else:
            tables[metric].days[number] = n
    return tables, unknown


def _entered(applied: Iterable[LedgerEntry], metric: Metric, bucket_minutes: int) -> dict[str, int]:
    """Return what the ledger's entries add to each field of a metric."""
    amounts: Counter[str] = Counter()
    for entry in applied:
        if entry.metric == metric:
            spans = [Span(n, start, end) for n, start, end in entry.spans]
            amounts.update(span_amounts(metric, spans, bucket_minutes))
    return amounts


def _days(table: _Table, per_day: int) -> dict[str, int]:
    """Return UTC day → sum of its buckets."""
    days: Counter[str] = Counter()
    for bucket, n in table.buckets.items():
        days[str(bucket // per_day)] += n
    return days


def _split(books: Mapping[str, int]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Split the books into those by local day, and those in all."""
    by_day: dict[str, dict[str, int]] = {}
    in_all: dict[str, int] = {}
    for name, n in books.items():
        day, colon, rest = name.partition(":")
        if colon and len(day) == DAY_LENGTH:
            by_day.setdefault(day, {})[rest] = n
        else:
            in_all[name] = n
    return by_day, in_all


def _over_days(by_day: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    names: Counter[str] = Counter()
    for amounts in by_day.values():
        names.update(amounts)
    return names


def _local_days(
    buckets: Mapping[int, int],
    entered: Mapping[int, int],
    by_day: Mapping[str, Mapping[str, int]],
    zone: ZoneInfo,
    bucket_minutes: int,
) -> list[LocalDay]:
    """Return every local day that has views, ledger amounts or books."""
    size = bucket_minutes * MINUTE_MS
    views: Counter[str] = Counter()
    ledger: Counter[str] = Counter()
    name, end = "", -1
    for bucket in sorted(buckets.keys() | entered.keys()):
        if bucket * size >= end:
            day = local_day(bucket * size, zone)
            name, end = day.isoformat(), day_start(day + timedelta(days=1), zone)
        views[name] += buckets.get(bucket, 0)
        ledger[name] += entered.get(bucket, 0)
    found = []
    for day_name in sorted({*views, *by_day}):
        booked = dict(by_day.get(day_name, {}))
        counted, duplicate = booked.pop(COUNTED, 0), booked.pop(DUPLICATE, 0)
        found.append(
            LocalDay(day_name, views[day_name], ledger[day_name], counted, duplicate, booked)
        )
    return found


def _total(applied: Iterable[LedgerEntry], metric: Metric, total: int, counted: int) -> Total:
    """Say how a total came about."""
    entries = [entry for entry in applied if entry.metric == metric]
    carried_over = sum(entry.n for entry in entries if is_carried_over(entry))
    corrected = sum(entry.n for entry in entries) - carried_over
    if metric is not Metric.VIEWS:
        counted = total - carried_over - corrected
    return Total(carried_over, counted, corrected, total)


def is_carried_over(entry: LedgerEntry) -> bool:
    """Claim that an entry brings over what was counted elsewhere: it only adds, and names its evidence."""
    return bool(entry.evidence) and all(n >= 0 for n, _, _ in entry.spans)


def _check(name: str, what: str, left: Mapping[str, int], right: Mapping[str, int]) -> Check:
    """Compare two sides place by place."""
    differing = [
        (place, left.get(place, 0), right.get(place, 0))
        for place in sorted({*left, *right})
        if left.get(place, 0) != right.get(place, 0)
    ]
    return Check(
        name,
        what,
        sum(left.values()),
        sum(right.values()),
        sum(abs(one - other) for _, one, other in differing),
        tuple(differing[:PLACES_MAX]),
    )
