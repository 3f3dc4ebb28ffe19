"""Windows against a naive model that walks through the buckets one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from visits.counters import DAY_MS, MINUTE_MS, Metric, bucket_field, day_field, total_field
from visits.window import Windows, check_zone, day_start, local_day, plan, ranges

ZONES = {
    "Asia/Ho_Chi_Minh": 60,
    "Europe/Berlin": 60,
    "Africa/Cairo": 60,
    "America/Havana": 60,
    "Pacific/Apia": 60,
    "Australia/Lord_Howe": 30,
    "Asia/Kolkata": 30,
    "Asia/Kathmandu": 15,
}
EDGES = [
    datetime(2011, 12, 29, 9, 30, tzinfo=UTC),  # Apia leaves out 30 December 2011
    datetime(2011, 12, 30, 10, 30, tzinfo=UTC),
    datetime(2024, 2, 29, 12, tzinfo=UTC),
    datetime(2024, 4, 25, 22, 30, tzinfo=UTC),  # Cairo has no midnight on 26 April 2024
    datetime(2025, 3, 9, 5, 30, tzinfo=UTC),  # Havana neither on 9 March 2025
    datetime(2025, 11, 2, 4, 30, tzinfo=UTC),  # Havana has midnight twice on 2 November 2025
    datetime(2025, 4, 5, 15, 30, tzinfo=UTC),  # Lord Howe goes back by half an hour
    datetime(2025, 12, 31, 23, 59, tzinfo=UTC),
]


def naive(now: int, zone: ZoneInfo, windows: Windows, bucket_minutes: int) -> dict[str, set[int]]:
    """Say for every bucket of the last 800 days, one by one, which windows it belongs to."""
    size = bucket_minutes * MINUTE_MS
    last = now // size
    today = _date_by_walking(now, zone)
    found: dict[str, set[int]] = {
        name: set() for name in ("today", "yesterday", "week", "month", "year")
    }
    monday = today - timedelta(days=today.weekday())
    per_day = DAY_MS // size
    for bucket in range(last - 420 * per_day, last + 1):
        day = _date_by_walking(bucket * size, zone)
        if day == today:
            found["today"].add(bucket)
        if day == today - timedelta(days=1):
            found["yesterday"].add(bucket)
        if windows is Windows.ROLLING:
            for name, days in (("week", 7), ("month", 30), ("year", 365)):
                if bucket > last - days * per_day:
                    found[name].add(bucket)
        else:
            if monday <= day <= today:
                found["week"].add(bucket)
            if (day.year, day.month) == (today.year, today.month):
                found["month"].add(bucket)
            if day.year == today.year:
                found["year"].add(bucket)
    return found


def _date_by_walking(moment: int, zone: ZoneInfo) -> date:
    """The latest date whose first instant is not after the moment; none of the zones here goes back over midnight."""
    return datetime.fromtimestamp(moment / 1000, zone).date()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(ZONES)),
    st.one_of(
        st.sampled_from(EDGES),
        st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # hypothesis wants it so
    ),
    st.sampled_from(list(Windows)),
)
@example("Pacific/Apia", EDGES[1], Windows.CALENDAR)
@example("Africa/Cairo", EDGES[3], Windows.CALENDAR)
@example("America/Havana", EDGES[5], Windows.CALENDAR)
@example("Australia/Lord_Howe", EDGES[6], Windows.ROLLING)
@example("Asia/Ho_Chi_Minh", EDGES[7], Windows.CALENDAR)
@example("Europe/Berlin", EDGES[2], Windows.CALENDAR)
def test_windows_equal_the_naive_model(name: str, moment: datetime, windows: Windows) -> None:
    """Every window covers exactly the buckets that a walk through all buckets gives it, and the sums follow."""
    zone, bucket_minutes = ZoneInfo(name), ZONES[name]
    size = bucket_minutes * MINUTE_MS
    now = round(moment.timestamp() * 1000)
    expected = naive(now, zone, windows, bucket_minutes)
    found = ranges(now, zone, windows, bucket_minutes)
    for window, span in found.items():
        assert set(range(span.start // size, span.end // size)) == expected[window], window
    amount = {bucket: bucket % 7 + 1 for bucket in set().union(*expected.values())}
    stored: dict[str, int] = {total_field(Metric.VISITS): 10**6}
    for bucket, n in amount.items():
        day = day_field(Metric.VISITS, bucket // (DAY_MS // size))
        stored[bucket_field(Metric.VISITS, bucket)] = n
        stored[day] = stored.get(day, 0) + n
    asked = plan(now // size, zone, windows, Metric.VISITS, bucket_minutes)
    sums = asked.sums([stored.get(field, 0) for field in asked.fields])
    assert sums == {
        window: sum(amount[b] for b in buckets) for window, buckets in expected.items()
    } | {"total": 10**6}


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Pacific/Apia", date(2011, 12, 30), 0),
        ("America/Havana", date(2025, 3, 9), 23),
        ("America/Havana", date(2025, 11, 2), 25),
        ("Australia/Lord_Howe", date(2025, 4, 6), 24.5),
        ("Asia/Ho_Chi_Minh", date(2026, 11, 24), 24),
    ],
)
def test_lengths_of_days(zone: str, day: date, hours: float) -> None:
    """Days of 0, 23, 24, 24.5 and 25 h follow from their beginnings."""
    info = ZoneInfo(zone)
    assert day_start(day + timedelta(days=1), info) - day_start(day, info) == hours * 60 * MINUTE_MS


def test_local_day_where_the_clock_goes_back_over_midnight() -> None:
    """St. John's went back from 00:01 to 23:01 in 2010: the day that had begun goes on."""
    zone = ZoneInfo("America/St_Johns")
    begins = day_start(date(2010, 11, 7), zone)
    for minutes in (0, 1, 30, 61, 62):
        assert local_day(begins + minutes * MINUTE_MS, zone) == date(2010, 11, 7)
    assert local_day(begins - 1, zone) == date(2010, 11, 6)


def test_rolling_year_is_read_from_few_fields() -> None:
    """A year costs about 413 fields, not 8,760 (DESIGN 6)."""
    asked = plan(495_432, ZoneInfo("UTC"), Windows.ROLLING, Metric.VIEWS, 60)
    assert len(asked.fields) < 500


@pytest.mark.parametrize(
    ("zone", "minutes", "fits"),
    [
        ("Asia/Ho_Chi_Minh", 60, True),
        ("Asia/Kolkata", 60, False),
        ("Asia/Kolkata", 30, True),
        ("Australia/Lord_Howe", 60, False),
        ("Australia/Lord_Howe", 30, True),
        ("Asia/Kathmandu", 30, False),
        ("Asia/Kathmandu", 15, True),
    ],
)
def test_zones_that_do_not_fit_a_bucket_are_found(zone: str, minutes: int, fits: bool) -> None:
    """A local day must begin with a bucket, now and ten years ahead."""
    assert (check_zone(ZoneInfo(zone), minutes, 2026) is None) is fits
