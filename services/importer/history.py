"""What a site's books already hold: earlier imports, an opening balance, live counting. Nothing of that time may count again."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable
from datetime import date, timedelta

from msgspec import Struct

from services.importer.judge import Period
from services.importer.piece import Imported
from services.importer.tally import Reason
from services.runtime.opening import OPENING_WHY
from services.runtime.site import Site
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.errors import DeltaError
from visits.fold import COUNTED
from visits.window import day_start, iso

_COUNTED_DAY = re.compile(rf"(\d{{4}}-\d\d-\d\d):{COUNTED}")


class Covered:
    """The time that earlier imports of one metric have read, and how many parts each day has."""

    def __init__(self, imported: Iterable[Imported]) -> None:
        """Join what overlaps."""
        self._parts: dict[str, int] = {}
        self._starts: list[int] = []
        self._ends: list[int] = []
        for item in sorted(imported, key=lambda found: found.start):
            self._parts[item.day] = max(self._parts.get(item.day, 0), item.part)
            if not item.is_applied:
                continue
            if self._ends and item.start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], item.end)
            else:
                self._starts.append(item.start)
                self._ends.append(item.end)

    def holds(self, at: int) -> bool:
        """Claim that a moment was read before."""
        index = bisect_right(self._starts, at) - 1
        return index >= 0 and at < self._ends[index]

    def next_part(self, day: date) -> int:
        """Return the number of the part of a day that is imported next, from 1."""
        return self._parts.get(day.isoformat(), 0) + 1


class Bounds(Struct, frozen=True):
    """What the site's books say about the time that may be imported.

    Attributes:
        opening_end: up to when an opening balance carried an old counter's numbers over; `None`: there is none.
        live_day: the first local day that live counting counted.
    """

    opening_end: int | None
    live_day: date | None


def bounds_of(
    entries: Iterable[LedgerEntry], books: Iterable[str], metrics: Collection[Metric]
) -> Bounds:
    """Find the bounds in a site's ledger and in the names of its books."""
    openings = [
        entry.at if entry.end is None else entry.end
        for entry in entries
        if entry.why == OPENING_WHY and entry.outcome == "applied" and entry.metric in metrics
    ]
    days = [match[1] for name in books if (match := _COUNTED_DAY.fullmatch(name))]
    return Bounds(max(openings, default=None), date.fromisoformat(min(days)) if days else None)


def period_of(
    site: Site, bounds: Bounds, now: int, since: int | None, until: int | None, *, overlap: bool
) -> Period:
    """Return from when to when lines count: what was asked for, within what is not counted yet.

    Args:
        site: whose days.
        bounds: what its books say.
        now: Unix milliseconds; later lines are mistakes of a clock.
        since: as asked.
        until: as asked.
        overlap: the bounds were seen and are to be passed over.

    Raises:
        DeltaError: what was asked for overlaps with what is counted.
    """
    if overlap:
        bounds = Bounds(None, None)
    live_start = None if bounds.live_day is None else day_start(bounds.live_day, site.zone)
    live_end = None if bounds.live_day is None else _next_start(bounds.live_day, site)
    if since is not None and bounds.opening_end is not None and since < bounds.opening_end:
        raise DeltaError(
            f"the opening balance already holds what was counted before {iso(bounds.opening_end, site.zone)}: "
            "lines before that would count twice; say a later --since, or --allow-overlap to add them all the same"
        )
    if until is not None and live_end is not None and until > live_end:
        raise DeltaError(
            f"live counting began on {bounds.live_day}: lines of later days would count twice; say a --until of that day, "
            "or --allow-overlap to add them all the same"
        )
    first, why_since = (0, Reason.BEFORE) if since is None else (since, Reason.BEFORE)
    if since is None and bounds.opening_end is not None:
        first, why_since = bounds.opening_end, Reason.OPENING_BALANCE
    last, why_until = (now + 1, Reason.FUTURE) if until is None else (until, Reason.AFTER)
    if until is None and live_start is not None:
        last, why_until = live_start, Reason.LIVE
    return Period(first, min(last, now + 1), why_since, why_until)


def _next_start(day: date, site: Site) -> int:
    return day_start(day + timedelta(days=1), site.zone)
