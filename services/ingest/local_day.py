"""The local day of a moment, per zone: worked out once a day instead of once a view."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from visits.counters import MINUTE_MS
from visits.window import day_start, local_day

PREVIOUS_MINUTES = 30
"""How long after midnight a record also carries yesterday's pseudonym (DESIGN 3.3): the gap that ends a visit."""


class LocalDay(Struct, frozen=True):
    """One local day.

    Attributes:
        day: ISO 8601.
        before: the day before it, ISO 8601.
        start: Unix milliseconds.
        end: Unix milliseconds, exclusive.
    """

    day: str
    before: str
    start: int
    end: int

    def has_previous(self, now: int) -> bool:
        """Claim that visits of the day before may still go on at `now`."""
        return now - self.start < PREVIOUS_MINUTES * MINUTE_MS


class Calendar:
    """Knows the current local day of every zone it was asked for."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._days: dict[ZoneInfo, LocalDay] = {}

    def day(self, now: int, zone: ZoneInfo) -> LocalDay:
        """Return the local day that holds `now` (Unix milliseconds)."""
        known = self._days.get(zone)
        if known is None or not known.start <= now < known.end:
            known = self._days[zone] = local_day_at(now, zone)
        return known


def local_day_at(now: int, zone: ZoneInfo) -> LocalDay:
    """Return the local day that holds `now` (Unix milliseconds), worked out anew."""
    day = local_day(now, zone)
    start = day_start(day, zone)
    # A day of no length has ended where it begins; the day before today is then the one before it.
    before = local_day(start - 1, zone)
    return LocalDay(
        day.isoformat(), before.isoformat(), start, day_start(day + timedelta(days=1), zone)
    )
