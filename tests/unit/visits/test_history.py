"""The laws of periods: side by side, begun by the local clock, and their sums are the windows' sums."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visits.counters import DAY_MS, HOUR_MS, MINUTE_MS, Metric
from visits.errors import InputError
from visits.history import FIELDS_MAX, POINTS_MAX, Interval, course, default_start
from visits.window import Range, Windows, day_start, local_day, plan

ZONES = {
    "Asia/Ho_Chi_Minh": 60,
    "Africa/Cairo": 60,  # the clock is changed at midnight
    "America/Havana": 60,  # midnight comes twice
    "Australia/Lord_Howe": 30,  # the clock is changed by half an hour
    "Asia/Kathmandu": 15,  # 5:45 ahead
}
YEAR_2026 = range(1_767_225_600_000 // HOUR_MS, 1_798_761_600_000 // HOUR_MS)
zones = st.sampled_from([(ZoneInfo(name), minutes) for name, minutes in ZONES.items()])
moments = st.integers(YEAR_2026.start, YEAR_2026.stop).map(lambda hour: hour * HOUR_MS)


def at(text: str, zone: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def amount(field: str, size: int) -> int:
    """Return a made-up number a bucket, and their sum for a UTC day."""
    kind, number = field[1], int(field[2:])
    if kind == "b":
        return number % 97 + 1
    return sum(
        bucket % 97 + 1 for bucket in range(number * DAY_MS // size, (number + 1) * DAY_MS // size)
    )


@given(zones, moments, st.integers(1, 40 * 24), st.sampled_from(Interval))
def test_periods_tile_the_range(
    zone: tuple[ZoneInfo, int], start: int, hours: int, interval: Interval
) -> None:
    """Without gap or overlap; each but the first begins where the local clock begins one."""
    span = Range(start, start + hours * HOUR_MS)
    periods = course(span, zone[0], interval, Metric.VIEWS, zone[1]).periods
    assert (periods[0].start, periods[-1].end) == (span.start, span.end)
    for before, after in itertools.pairwise(periods):
        assert before.end == after.start
        assert before.start < before.end
        clock = datetime.fromtimestamp(after.start / 1000, zone[0])
        if interval is not Interval.HOUR:
            day = local_day(after.start, zone[0])
            assert day_start(day, zone[0]) == after.start
            assert interval is not Interval.WEEK or day.weekday() == 0
            assert interval is not Interval.MONTH or day.day == 1
        elif zone[0].key != "Australia/Lord_Howe":
            assert (clock.minute, clock.second) == (0, 0)


@given(zones, moments, st.sampled_from(Interval), st.sampled_from(Windows))
def test_the_sum_of_the_periods_is_the_window(
    zone: tuple[ZoneInfo, int], now: int, interval: Interval, windows: Windows
) -> None:
    """Whatever the interval, a window's periods add up to what the counters say of it."""
    size = zone[1] * MINUTE_MS
    asked = plan(now // size, zone[0], windows, Metric.VISITS, zone[1])
    numbers = asked.sums([amount(field, size) for field in asked.fields[:-1]] + [0])
    for name, span in asked.ranges.items():
        if interval is Interval.HOUR and name == "year":
            continue
        found = course(span, zone[0], interval, Metric.VISITS, zone[1])
        sums = found.sums([amount(field, size) for field in found.fields])
        assert len(sums) == len(found.periods)
        assert sum(sums) == numbers[name], name


@pytest.mark.parametrize(
    ("zone", "minutes", "day", "hours"),
    [
        ("Africa/Cairo", 60, "2026-04-24", 23),
        ("Africa/Cairo", 60, "2026-10-29", 25),
        ("America/Havana", 60, "2026-11-01", 25),
        ("Australia/Lord_Howe", 30, "2026-04-05", 25),  # 24.5 h
        ("Australia/Lord_Howe", 30, "2026-10-04", 24),  # 23.5 h
        ("Asia/Kathmandu", 15, "2026-11-24", 24),
    ],
)
def test_hours_of_a_day(zone: str, minutes: int, day: str, hours: int) -> None:
    """A day has as many hours as its clock begins, and they add up to the day."""
    place = ZoneInfo(zone)
    first = local_day(at(f"{day}T12:00", zone), place)
    span = Range(
        day_start(first, place),
        day_start(local_day(at(f"{day}T12:00", zone) + DAY_MS, place), place),
    )
    assert len(course(span, place, Interval.HOUR, Metric.VIEWS, minutes).periods) == hours
    assert len(course(span, place, Interval.DAY, Metric.VIEWS, minutes).periods) == 1


def test_the_half_hour_that_comes_twice_is_an_hour_of_its_own() -> None:
    """On Lord Howe 01:30 to 02:00 is lived twice: 60 minutes from 01:00, then 30 from 01:30."""
    start = at("2026-04-05T01:00", "Australia/Lord_Howe")
    span = Range(start, start + 2 * HOUR_MS + 30 * MINUTE_MS)
    zone = ZoneInfo("Australia/Lord_Howe")
    periods = course(span, zone, Interval.HOUR, Metric.VIEWS, 30).periods
    assert [(p.end - p.start) // MINUTE_MS for p in periods] == [60, 30, 60]


def test_ends_are_widened_to_buckets() -> None:
    """What is asked from within a bucket is told from its beginning."""
    span = Range(90 * MINUTE_MS, 91 * MINUTE_MS)
    found = course(span, ZoneInfo("UTC"), Interval.HOUR, Metric.VIEWS, 60)
    assert (found.periods, found.fields) == ((Range(HOUR_MS, 2 * HOUR_MS),), ("vb1",))


@pytest.mark.parametrize(
    ("hours", "interval", "minutes"),
    [
        (0, Interval.HOUR, 60),
        (POINTS_MAX + 1, Interval.HOUR, 60),
        (FIELDS_MAX // 4 + 24, Interval.DAY, 15),
    ],
)
def test_what_is_empty_or_too_long_is_refused(hours: int, interval: Interval, minutes: int) -> None:
    """The bounds hold, in periods and in counters."""
    with pytest.raises(InputError):
        course(
            Range(0, hours * HOUR_MS), ZoneInfo("Asia/Kathmandu"), interval, Metric.VIEWS, minutes
        )


@pytest.mark.parametrize(
    ("interval", "first"),
    [
        (Interval.HOUR, "2026-11-22T12:00"),
        (Interval.DAY, "2026-10-26T00:00"),
        (Interval.WEEK, "2026-08-31T00:00"),  # Monday, twelve weeks before this one's
        (Interval.MONTH, "2025-12-01T00:00"),
        (Interval.YEAR, "2017-01-01T00:00"),
    ],
)
def test_where_a_range_begins_by_itself(interval: Interval, first: str) -> None:
    """48 hours, 30 days, 13 weeks, 12 months, 10 years, with the running one."""
    zone = "Asia/Ho_Chi_Minh"
    end = at("2026-11-24T12:00", zone)
    assert default_start(end, ZoneInfo(zone), interval) == at(first, zone)


def test_a_day_that_never_was_is_no_period() -> None:
    """Samoa went from 29 to 31 December 2011."""
    zone = ZoneInfo("Pacific/Apia")
    start = round(datetime(2011, 12, 29, tzinfo=zone).astimezone(UTC).timestamp() * 1000)
    periods = course(Range(start, start + 2 * DAY_MS), zone, Interval.DAY, Metric.VIEWS, 60).periods
    assert [local_day(p.start, zone).day for p in periods] == [29, 31]
