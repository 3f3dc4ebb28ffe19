"""What a site has already, and what may still be imported."""

from __future__ import annotations

from datetime import date

import pytest

from services.importer.history import Bounds, Covered, bounds_of, period_of
from services.importer.judge import Period
from services.importer.piece import Imported
from services.importer.tally import Reason
from services.runtime.site import SiteSettings, make_site
from visits.counters import DAY_MS, HOUR_MS, Metric
from visits.delta import LedgerEntry
from visits.errors import DeltaError

SITE = make_site("a", SiteSettings(), 60, 2026)
LIVE_DAY = date(2026, 5, 27)
LIVE_START = 1_779_814_800_000
NOW = LIVE_START + 5 * DAY_MS
NOTHING = Bounds(None, None)


def imported(start: int, end: int, *, part: int = 1, is_applied: bool = True) -> Imported:
    return Imported("2026-05-27", part, start, end, is_applied)


def opening(metric: str = "visits", end: int | None = 500, outcome: str = "applied") -> LedgerEntry:
    return LedgerEntry(
        id="x", position=0, at=700, outcome=outcome, metric=metric, n=1, end=end, why="opening balance"
    )  # fmt: skip


def test_time_that_was_read_is_covered() -> None:
    """Half-open, joined where it touches, without what was refused."""
    parts = [
        imported(20, 30),
        imported(0, 10),
        imported(10, 12),
        imported(40, 50, is_applied=False),
    ]
    covered = Covered(parts)
    assert [at for at in range(-1, 60) if covered.holds(at)] == [*range(12), *range(20, 30)]
    assert not Covered([]).holds(0)


def test_parts_are_numbered() -> None:
    """The next part of a day follows the last one, counted or refused."""
    covered = Covered([imported(0, 1), imported(5, 6, part=2, is_applied=False)])
    assert covered.next_part(LIVE_DAY) == 3
    assert covered.next_part(date(2026, 5, 28)) == 1


def test_bounds_are_found_in_the_books() -> None:
    """The first day with a counted view; the end of an opening balance of the metrics asked for."""
    books = ["counted", "bot", "2026-05-28:counted", "2026-05-27:counted", "2026-05-01:bot"]
    entries = [opening(), opening("views", None), opening(outcome="refused", end=900)]
    assert bounds_of(entries, books, [Metric.VISITS]) == Bounds(500, LIVE_DAY)
    assert bounds_of(entries, [], list(Metric)) == Bounds(700, None)
    assert bounds_of([], [], list(Metric)) == NOTHING


def test_without_live_views_all_up_to_now_counts() -> None:
    """What lies in the future is a clock's mistake."""
    assert period_of(SITE, NOTHING, NOW, None, None, overlap=False) == Period(
        0, NOW + 1, Reason.BEFORE, Reason.FUTURE
    )


def test_live_days_and_an_opening_balance_are_left_out() -> None:
    """By default what is counted already does not count again."""
    bounds = Bounds(500, LIVE_DAY)
    assert period_of(SITE, bounds, NOW, None, None, overlap=False) == Period(
        500, LIVE_START, Reason.OPENING_BALANCE, Reason.LIVE
    )


def test_the_day_it_began_may_be_cut_by_hand() -> None:
    """`--until` within the first live day is the moment the widget came; later is refused."""
    bounds, moment = Bounds(None, LIVE_DAY), LIVE_START + 9 * HOUR_MS
    assert period_of(SITE, bounds, NOW, 5, moment, overlap=False) == Period(5, moment)
    with pytest.raises(DeltaError, match="live counting began on 2026-05-27"):
        period_of(SITE, bounds, NOW, None, LIVE_START + DAY_MS + 1, overlap=False)


def test_time_of_an_opening_balance_is_refused() -> None:
    """Asked for by hand it is an error with the mend."""
    with pytest.raises(DeltaError, match="--allow-overlap"):
        period_of(SITE, Bounds(500, None), NOW, 499, None, overlap=False)


def test_overlap_may_be_allowed() -> None:
    """Who has seen it may add all the same, but nothing of the future."""
    found = period_of(SITE, Bounds(500, LIVE_DAY), NOW, None, NOW + DAY_MS, overlap=True)
    assert (found.since, found.until) == (0, NOW + 1)
