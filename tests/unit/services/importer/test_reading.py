"""From files to days: equal to an independent count, however the files are cut, merged and repeated."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.importer.history import Covered
from services.importer.judge import Period
from services.importer.piece import DayAmounts, Imported
from services.importer.reading import Reading
from services.importer.source import Source, SourceError
from services.importer.tally import Reason, Tally
from services.ingest.client_address import ClientFinder
from services.runtime.site import SiteSettings, make_site
from tests.support.access_log import ACCESS_LOG, count, line
from visits.counters import HOUR_MS, Metric
from visits.record import MOMENT_MAX
from visits.state import Parameters

NAME = "Asia/Ho_Chi_Minh"
ZONE = ZoneInfo(NAME)
MIDNIGHT = 1_779_814_800
"""2026-05-27T00:00:00+07:00, Unix seconds."""

EVER = Period(0, MOMENT_MAX)


def read(
    paths: Sequence[Path], earlier: Iterable[Imported] = (), period: Period = EVER, **values: object
) -> tuple[list[DayAmounts], Tally]:
    """Read files to their end, after earlier imports."""
    site = make_site("a", SiteSettings(**({"timezone": NAME} | values)), 60, 2026)
    covered = dict.fromkeys(Metric, Covered(earlier))
    with ExitStack() as opened:
        sources = [opened.enter_context(closing(Source(str(path)))) for path in paths]
        reading = Reading(
            site, sources, (), period, covered, Parameters(), ClientFinder(()), lambda: None
        )
        return list(reading.days()), reading.tally


def write(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(lines), encoding="utf-8")
    return path


def hours_of(days: Iterable[DayAmounts], metric: Metric) -> Counter[int]:
    hours: Counter[int] = Counter()
    for day in days:
        for span in day.spans[metric]:
            assert span.start is not None
            hours[span.start // HOUR_MS] += span.n
    return hours


def pages_of(days: Iterable[DayAmounts]) -> Counter[str]:
    pages: Counter[str] = Counter()
    for day in days:
        pages.update(day.pages)
    return pages


def sums_of(days: Iterable[DayAmounts]) -> dict[Metric, int]:
    listed = list(days)
    return {metric: sum(day.total(metric) for day in listed) for metric in Metric}


def as_imported(days: Iterable[DayAmounts], part: int = 1) -> list[Imported]:
    """Return what the ledger would have of these days."""
    return [Imported(day.day.isoformat(), part, day.start, day.end, True) for day in days]


def test_a_real_log_equals_a_plain_count() -> None:
    """Views, visits and visitors of every hour, day and page are those of an independent count of the same lines."""
    days, tally = read([ACCESS_LOG])
    lines = ACCESS_LOG.read_text(encoding="utf-8").splitlines()
    expected = count(lines, ZONE)
    for metric in Metric:
        assert hours_of(days, metric) == expected.hours[metric]
        assert {d.day.isoformat(): d.total(metric) for d in days} == {
            day: amounts[metric] for day, amounts in expected.days.items()
        }
    assert pages_of(days) == expected.pages
    assert tally.read == len(lines) == tally.counted + tally.refused.total()
    assert tally.counted == expected.views > 1000


def test_a_real_log_cut_into_files_in_any_order_is_the_same(tmp_path: Path) -> None:
    """Rotated files are merged by time, in whatever order they are named."""
    lines = ACCESS_LOG.read_text(encoding="utf-8").splitlines(keepends=True)
    files = [write(tmp_path / f"access.log.{number}", lines[number::3]) for number in range(3)] + [
        write(tmp_path / "empty", [])
    ]
    days, _ = read(files[::-1])
    whole, _ = read([ACCESS_LOG])
    assert sums_of(days) == sums_of(whole)
    assert pages_of(days) == pages_of(whole)


steps = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 600, 1799, 1800, 1801, 7200, 50_000, 100_000]),
        st.sampled_from(["203.0.113.1", "203.0.113.2", "2001:db8::1"]),
        st.sampled_from(["/", "/a", "/b/", "/b"]),
    ),
    min_size=2,
    max_size=40,
)


def made(drawn: Sequence[tuple[int, str, str]]) -> list[str]:
    """Return lines, each at a second of its own, that begin shortly before a midnight."""
    moments = itertools.accumulate((step for step, _, _ in drawn), initial=MIDNIGHT - 3000)
    return [line(at, page, address) for at, (_, address, page) in zip(moments, drawn, strict=False)]


@given(steps)
@settings(deadline=None)
def test_any_log_equals_a_plain_count(
    tmp_path_factory: pytest.TempPathFactory, drawn: Sequence[tuple[int, str, str]]
) -> None:
    """Gaps around 30 minutes, midnights and days without lines: as an independent count has them."""
    lines = made(drawn)
    days, _ = read([write(tmp_path_factory.mktemp("log") / "a.log", lines)])
    expected = count(lines, ZONE)
    for metric in Metric:
        assert hours_of(days, metric) == expected.hours[metric]


@given(steps, st.data())
@settings(deadline=None)
def test_a_file_that_grew_adds_only_what_is_new(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: Sequence[tuple[int, str, str]],
    data: st.DataObject,
) -> None:
    """Part, then the whole file: exactly the whole, cut wherever; then again: nothing."""
    folder = tmp_path_factory.mktemp("log")
    lines = made(drawn)
    cut = data.draw(st.integers(0, len(lines)))
    first, _ = read([write(folder / "part.log", lines[:cut])])
    path = write(folder / "whole.log", lines)
    second, tally = read([path], as_imported(first))
    assert tally.refused[Reason.ALREADY_IMPORTED] == cut
    whole, _ = read([path])
    for metric in Metric:
        assert hours_of(first + second, metric) == hours_of(whole, metric)
    assert pages_of(first + second) == pages_of(whole)
    third, tally = read([path], as_imported(first) + as_imported(second, part=2))
    assert not third
    assert tally.refused[Reason.ALREADY_IMPORTED] == len(lines)


def test_the_next_rotated_file_adds_its_own(tmp_path: Path) -> None:
    """Files cut in the middle of a day, one after the other: every line counts once."""
    before = [line(MIDNIGHT + 60 * minute) for minute in range(0, 300, 40)]
    after = [line(MIDNIGHT + 60 * minute) for minute in range(300, 700, 40)]
    first, _ = read([write(tmp_path / "access.log.2", before)])
    second, _ = read([write(tmp_path / "access.log.1", after)], as_imported(first))
    assert sums_of(first + second)[Metric.VIEWS] == len(before + after)


def test_older_lines_that_turn_up_later_are_added(tmp_path: Path) -> None:
    """Of the day at which an import began, what lies before its first line was not read by it."""
    after = [line(MIDNIGHT + 60 * minute) for minute in range(300, 2000, 40)]
    before = [line(MIDNIGHT + 60 * minute) for minute in range(0, 300, 40)]
    first, _ = read([write(tmp_path / "access.log.1", after)])
    second, _ = read([write(tmp_path / "access.log.2", before)], as_imported(first))
    assert sums_of(first + second)[Metric.VIEWS] == len(before + after)


def test_a_visit_across_midnight_is_one(tmp_path: Path) -> None:
    """Not cut at midnight; the reader is a visitor of both days."""
    lines = [line(MIDNIGHT - 600), line(MIDNIGHT + 600), line(MIDNIGHT + 2300)]
    days, _ = read([write(tmp_path / "a.log", lines)])
    assert sums_of(days) == {Metric.VIEWS: 3, Metric.VISITS: 1, Metric.VISITORS: 2}


def test_lines_far_behind_are_refused_as_late(tmp_path: Path) -> None:
    """A stream of rotated files in the wrong order is told, not miscounted."""
    days_apart = [line(MIDNIGHT + 86_400 * day) for day in (0, 5, 1)]
    lines = [*days_apart[:2], *[line(MIDNIGHT + 5 * 86_400 + n) for n in range(1, 40_000)]]
    days, tally = read([write(tmp_path / "a.log", [*lines, days_apart[2]])])
    assert sums_of(days)[Metric.VIEWS] == 40_001
    assert tally.refused == {Reason.LATE: 1}
    assert tally.read == tally.counted + 1


def test_every_reason_is_booked(tmp_path: Path) -> None:
    """Read = counted + refused, with the line and the reason of what cannot be read."""
    plain = line(MIDNIGHT)
    lines = [
        plain,
        "\n",
        "garbage\n",
        "x" * 70_000 + "\n",
        plain.replace("GET", "HEAD"),
        plain.replace("200 512", "404 0"),
        plain.replace("GET / ", "GET /a.css "),
        plain.replace("GET / ", "GET /%ff "),
        plain.replace("Firefox/130.0", "Googlebot/2.1"),
        plain.replace(f'"{plain.split(chr(34))[5]}"', '"-"'),
        line(MIDNIGHT - 86_400),
        line(MIDNIGHT + 86_400),
    ]
    period = Period(MIDNIGHT * 1000, (MIDNIGHT + 3600) * 1000, why_until=Reason.LIVE)
    days, tally = read([write(tmp_path / "a.log", lines)], period=period)
    assert sums_of(days)[Metric.VIEWS] == 1
    assert tally.refused == {
        Reason.NO_REQUEST: 1,
        Reason.MALFORMED: 2,
        Reason.METHOD: 1,
        Reason.STATUS: 1,
        Reason.ASSET: 1,
        Reason.BAD_PAGE: 1,
        Reason.BOT: 2,
        Reason.BEFORE: 1,
        Reason.LIVE: 1,
    }
    assert [(sample.file, sample.line) for sample in tally.samples] == [
        ("a.log", 3),
        ("a.log", 4),
    ]
    assert tally.read == len(lines) == 1 + tally.refused.total()


def test_pages_are_named_by_the_sites_settings(tmp_path: Path) -> None:
    """Case, query and patterns as for live views."""
    lines = [
        line(MIDNIGHT + number, page)
        for number, page in enumerate(["/Tin//Bai?id=1&x=2", "/tin/bai/?id=1", "/khac"])
    ]
    days, _ = read(
        [write(tmp_path / "a.log", lines)], ignore_case=True, query_keys=["id"], pages=["/tin/*"]
    )
    assert pages_of(days) == {"/tin/bai?id=1": 2, "(other)": 1}


def test_day_totals_and_logs_do_not_mix(tmp_path: Path) -> None:
    """The two are different things of perhaps the same days."""
    files = [write(tmp_path / "a.log", [line(MIDNIGHT)]), write(tmp_path / "b.csv", ["date,n\n"])]
    with pytest.raises(SourceError, match="one after the other"):
        read(files)
