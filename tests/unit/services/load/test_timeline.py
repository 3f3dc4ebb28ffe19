"""The figures over time."""

from __future__ import annotations

from services.load.outcome import COUNTED, NO_ANSWER, Outcome, Verdict
from services.load.schedule import NANOSECONDS, Phase, Schedule
from services.load.timeline import ROWS_MAX, Timeline

START = 5 * NANOSECONDS


def test_each_interval_has_a_row_of_its_own_and_all_of_them_make_the_whole() -> None:
    timeline = Timeline(Schedule([Phase(10, 2)]))
    timeline.begin(START)
    for _ in range(4):
        timeline.settled(COUNTED, 1_000)
    timeline.advance(START + NANOSECONDS - 1, 9, 9)
    assert timeline.rows == []
    timeline.advance(START + NANOSECONDS, 6, 9)
    timeline.settled(COUNTED, 200)
    timeline.settled(Outcome(Verdict.REFUSED, "bot"), 3_000)
    timeline.settled(Outcome(Verdict.UNKNOWN, "unavailable"), 4_000)
    timeline.settled(NO_ANSWER, 10_000_000)
    timeline.finish(START + 3 * NANOSECONDS, 20)
    first, second = timeline.rows
    assert (first.second, first.due, first.sent, first.waiting, first.in_flight) == (0, 11, 9, 2, 6)
    assert (first.counted, first.p50_ms) == (4, 1.0)
    assert (second.second, second.due, second.sent, second.waiting) == (1, 9, 11, 0)
    assert (second.counted, second.refused, second.unknown) == (1, 1, 2)
    assert second.max_ms == 4.0
    assert timeline.accepted.count == 5
    assert timeline.declined.count == 2, "no answer has no latency"


def test_a_long_run_has_no_more_rows_than_a_picture_can_show() -> None:
    timeline = Timeline(Schedule([Phase(1, 86_400)]))
    assert 86_400 / timeline.interval_seconds <= ROWS_MAX


def test_nothing_at_the_end_makes_no_row() -> None:
    timeline = Timeline(Schedule([Phase(10, 1)]))
    timeline.begin(START)
    timeline.finish(START + NANOSECONDS, 0)
    assert timeline.rows == []
