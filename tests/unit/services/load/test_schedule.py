"""The laws of the schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.load.schedule import NANOSECONDS, Phase, Schedule, parse_seconds

phases = st.lists(
    st.builds(
        Phase, st.sampled_from([0.0, 0.5, 3.0, 1000.0, 1234.5]), st.sampled_from([0.5, 1.0, 2.25])
    ),
    min_size=1,
    max_size=4,
)


def test_views_of_a_constant_rate_are_due_at_equal_distances_from_the_start() -> None:
    schedule = Schedule([Phase(4, 2)])
    assert schedule.views == 8
    assert [schedule.due_ns(n) for n in range(4)] == [0, 250_000_000, 500_000_000, 750_000_000]


def test_phases_follow_each_other_and_a_pause_has_no_views() -> None:
    schedule = Schedule([Phase(2, 1), Phase(0, 3), Phase(1, 2)])
    due = [schedule.due_ns(n) / NANOSECONDS for n in range(schedule.views)]
    assert due == [0, 0.5, 4, 5]
    assert schedule.duration_ns == 6 * NANOSECONDS


@given(phases, st.floats(0, 10))
def test_as_many_are_due_by_a_moment_as_have_a_due_moment_up_to_it(
    drawn: list[Phase], second: float
) -> None:
    schedule = Schedule(drawn)
    moment = round(second * NANOSECONDS)
    due = [schedule.due_ns(n) for n in range(schedule.views)]
    assert due == sorted(due)
    # A view due within a nanosecond of the moment may fall on either side of it.
    assert abs(sum(at <= moment for at in due) - schedule.due_by(moment)) <= 1
    assert schedule.due_by(schedule.duration_ns) == schedule.views


def test_durations_are_read_with_their_unit() -> None:
    assert [parse_seconds(text) for text in ("30s", "5m", "1.5h", " 90 ", "2M")] == [
        30,
        300,
        5400,
        90,
        120,
    ]


@pytest.mark.parametrize("text", ["", "s", "0s", "-3s", "5 minutes", "inf", "nan", "1d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_seconds(text)
