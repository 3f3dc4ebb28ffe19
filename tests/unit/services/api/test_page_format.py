"""Numbers, days and changes as a reader of each language writes them."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from services.api.page_format import (
    change,
    day_text,
    grouped,
    moment_text,
    month_text,
    period_mark,
    period_text,
)
from tests.support.logs import NOON, ZONE
from visits.history import Interval

DAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("n", "vi", "en"),
    [(0, "0", "0"), (999, "999", "999"), (155_351, "155.351", "155,351"), (-1_000, "-1.000", "-1,000")],
)  # fmt: skip
def test_thousands_stand_apart(n: int, vi: str, en: str) -> None:
    """By a point in Vietnamese, by a comma in English."""
    assert (grouped(n, "vi"), grouped(n, "en")) == (vi, en)


@pytest.mark.parametrize(
    ("now", "before", "vi", "en"),
    [
        (10, 8, "+25,0 %", "+25.0%"),
        (8, 10, "\u221220,0 %", "\u221220.0%"),
        (5, 5, "±0,0 %", "±0.0%"),
        (5, 0, "–", "–"),
        (0, 3, "\u2212100,0 %", "\u2212100.0%"),
    ],
)
def test_a_change_has_its_sign(now: int, before: int, vi: str, en: str) -> None:
    """Of nothing there is no change in per cent."""
    assert (change(now, before, "vi"), change(now, before, "en")) == (vi, en)


def test_days_and_months() -> None:
    """In figures in Vietnamese, with the month's name in English, whatever the process's locale."""
    assert (day_text(DAY, "vi"), day_text(DAY, "en")) == ("01/03/2026", "1 March 2026")
    assert (month_text(DAY, "vi"), month_text(DAY, "en")) == ("tháng 3/2026", "March 2026")


def test_moments_are_those_of_the_sites_clock() -> None:
    """The same moment is another hour, and may be another day, elsewhere."""
    assert moment_text(NOON, ZONE, "vi") == "12:00 24/11/2026"
    assert moment_text(NOON, ZoneInfo("Pacific/Honolulu"), "en") == "19:00 23 November 2026"


@pytest.mark.parametrize(
    ("interval", "text", "mark"),
    [
        (Interval.HOUR, "12:00 24/11/2026", "12:00"),
        (Interval.DAY, "24/11/2026", "24/11"),
        (Interval.MONTH, "tháng 11/2026", "11/2026"),
    ],
)
def test_periods_have_a_name_and_a_mark(interval: Interval, text: str, mark: str) -> None:
    """The name stands in the table, the mark under the chart."""
    assert period_text(NOON, ZONE, interval, "vi") == text
    assert period_mark(NOON, ZONE, interval) == mark
