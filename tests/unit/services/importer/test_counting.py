"""What stays in memory from day to day, and what is given away."""

from __future__ import annotations

from services.importer.counting import Counting
from services.importer.judge import Shown
from services.runtime.site import SiteSettings, make_site
from visits.counters import DAY_MS, HOUR_MS, MINUTE_MS, Metric
from visits.state import Parameters

MIDNIGHT = 1_779_814_800_000
"""2026-05-27T00:00:00+07:00."""


def shown(
    at: int, reader: bytes | None = b"read", page: str = "/", *, entry: bool = False
) -> Shown:
    return Shown(at, page, reader, "Firefox", entry)


def counting(**values: int) -> Counting:
    return Counting(make_site("a", SiteSettings(), 60, 2026), Parameters(**values))


def test_a_day_is_given_away_a_day_after_its_end() -> None:
    """Until then late views are added; then its time is closed."""
    run = counting()
    run.take([shown(MIDNIGHT - HOUR_MS)], counts=True)
    run.take([shown(MIDNIGHT + DAY_MS - 1)], counts=True)
    assert run.close_days() == []
    run.take([shown(MIDNIGHT - 2 * HOUR_MS)], counts=True)
    run.take([shown(MIDNIGHT + DAY_MS)], counts=True)
    [day] = run.close_days()
    assert day.total(Metric.VIEWS) == 2
    assert run.closed_until == MIDNIGHT
    assert [len(rest.pages) for rest in run.close_all()] == [1, 1]


def test_readers_are_known_across_days() -> None:
    """Giving days away forgets nobody whose visit may go on."""
    run = counting()
    run.take([shown(MIDNIGHT - 5 * DAY_MS)], counts=True)
    run.take([shown(MIDNIGHT - MINUTE_MS)], counts=True)
    assert len(run.close_days()) == 1
    run.take([shown(MIDNIGHT + MINUTE_MS), shown(MIDNIGHT + HOUR_MS)], counts=True)
    before, after = run.close_all()
    assert (before.total(Metric.VISITS), before.total(Metric.VISITORS)) == (1, 1)
    assert (after.total(Metric.VISITS), after.total(Metric.VISITORS)) == (1, 1)


def test_memory_does_not_grow_with_the_days() -> None:
    """Who was not seen for 50 hours is forgotten, and the salts of days gone by."""
    run = counting()
    for day in range(40):
        at = MIDNIGHT + day * DAY_MS
        run.take([shown(at + n, n.to_bytes(4, "big")) for n in range(20)], counts=True)
        run.close_days()
    assert len(run._seen) <= 4 * 20
    assert len(run._salts) <= 4


def test_views_of_nobody_begin_visits_by_their_referrer() -> None:
    """Where the log has no address, as for readers who asked not to be told apart: views, and visits by entry."""
    run = counting()
    run.take([shown(MIDNIGHT, None, entry=True), shown(MIDNIGHT + 1, None)], counts=True)
    [day] = run.close_all()
    assert [day.total(metric) for metric in Metric] == [2, 1, 0]


def test_pages_beyond_the_cap_are_other() -> None:
    """A day with invented paths without end takes bounded memory."""
    run = counting(pages_max=3)
    run.take([shown(MIDNIGHT + n, page=f"/{n}") for n in range(10)], counts=True)
    run.take([shown(MIDNIGHT + n, page="/1") for n in range(10, 12)], counts=True)
    [day] = run.close_all()
    assert day.pages == {"/0": 1, "/1": 3, "/2": 1, "(other)": 7}


def test_what_was_counted_before_adds_nothing_but_is_remembered() -> None:
    """A visit that an earlier import has counted goes on."""
    run = counting()
    run.take([shown(MIDNIGHT)], counts=False)
    run.take([shown(MIDNIGHT + MINUTE_MS)], counts=True)
    [day] = run.close_all()
    assert [day.total(metric) for metric in Metric] == [1, 0, 0]
    assert (day.first, day.last) == (MIDNIGHT + MINUTE_MS, MIDNIGHT + MINUTE_MS)
