"""Day totals of old counters."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from services.importer.day_totals import DayTotals
from services.importer.history import Covered
from services.importer.judge import Period
from services.importer.piece import DayAmounts, Imported
from services.importer.source import Source
from services.importer.tally import Reason, Tally
from services.runtime.site import SiteSettings, make_site
from visits.counters import DAY_MS, Metric
from visits.record import MOMENT_MAX

START = 1_779_814_800_000
"""2026-05-27T00:00:00+07:00."""

EVER = Period(0, MOMENT_MAX)
NOTHING = dict.fromkeys(Metric, Covered([]))


def read(
    path: Path,
    text: str,
    metrics: Sequence[Metric] = (),
    period: Period = EVER,
    covered: dict[Metric, Covered] = NOTHING,
    zone: str = "Asia/Ho_Chi_Minh",
) -> tuple[list[DayAmounts], Tally]:
    file, tally = path / "totals.csv", Tally()
    file.write_text(text, encoding="utf-8")
    site = make_site("a", SiteSettings(timezone=zone), 60, 2026)
    with closing(Source(str(file))) as source:
        days = list(DayTotals(source, site, metrics, period, tally, covered).days())
    assert tally.read == tally.counted + tally.refused.total()
    return days, tally


def test_date_and_number(tmp_path: Path) -> None:
    """Without a heading the number is of the site's own counter; a day is one span, its hours are estimated."""
    [day], _ = read(tmp_path, "2026-05-27,12\n")
    [span] = day.spans[Metric.VISITS]
    assert (day.day, day.start, day.end) == (date(2026, 5, 27), START, START + DAY_MS)
    assert (span.n, span.start, span.end, day.estimated) == (12, START, START + DAY_MS, True)
    assert list(day.spans) == [Metric.VISITS]


@pytest.mark.parametrize(
    "text",
    [
        "date,views,visits,visitors\n2026-05-27,30,12,9\n",
        "\ufeffDate;Visitors;Views;Bounce rate;Visits\n2026-05-27;9;30;0,4;12\n",
        "Ngày\tLượt xem\tLượt truy cập\tKhách\n20260527\t30\t12\t9\n",
        "\ufefffrom,to,views,visits,visitors\n2026-05-27,2026-05-28,30,12,9\n",
        '"date","pageviews","sessions","users"\n"2026-05-27","30","12","9"\n',
    ],
)
def test_headings_name_the_columns(tmp_path: Path, text: str) -> None:
    """Ours and those of Matomo, Plausible and Google; commas, semicolons, tabs; a byte order mark."""
    [day], tally = read(tmp_path, text)
    assert {metric: day.total(metric) for metric in day.spans} == {
        Metric.VIEWS: 30,
        Metric.VISITS: 12,
        Metric.VISITORS: 9,
    }
    assert tally.refused == {Reason.NO_REQUEST: 1}


def test_only_the_metrics_asked_for(tmp_path: Path) -> None:
    """`--metric` picks columns, and names the one without a heading."""
    [day], _ = read(tmp_path, "date,views,visits\n2026-05-27,30,12\n", [Metric.VIEWS])
    assert list(day.spans) == [Metric.VIEWS]
    [day], _ = read(tmp_path, "date,count\n2026-05-27,30\n", [Metric.VISITORS])
    assert day.total(Metric.VISITORS) == 30


def test_rows_that_are_none_are_shown(tmp_path: Path) -> None:
    """No date, no number, a day twice, a column that is not there: refused with line and reason."""
    text = "date,views,visits\n27/05/2026,1,1\n2026-05-27,1.5,1\n2026-05-27,7,7\n2026-05-27,1,1\n2026-05-28,4\n\n"
    [day], tally = read(tmp_path, text + f"2026-05-29,{10**13},1\n")
    assert day.total(Metric.VIEWS) == 7
    assert tally.refused == {Reason.NO_REQUEST: 2, Reason.MALFORMED: 5}
    assert [sample.line for sample in tally.samples] == [2, 3, 5, 6, 8]
    assert "stands in the file twice" in tally.samples[2].reason


def test_a_heading_without_a_metric_is_shown(tmp_path: Path) -> None:
    """Nothing is guessed where three columns have no known name."""
    _, tally = read(tmp_path, "date,foo,bar\n")
    assert "names none of views" in tally.samples[0].reason


def test_days_count_whole_or_not_at_all(tmp_path: Path) -> None:
    """A day that lies partly outside of what may be imported does not count."""
    period = Period(START + 1, START + 2 * DAY_MS, Reason.OPENING_BALANCE, Reason.LIVE)
    days, tally = read(tmp_path, "2026-05-27,1\n2026-05-28,2\n2026-05-29,4\n", period=period)
    assert [day.day.day for day in days] == [28]
    assert tally.refused == {Reason.OPENING_BALANCE: 1, Reason.LIVE: 1}


def test_days_imported_before_are_passed_over_by_metric(tmp_path: Path) -> None:
    """Views imported first and visits later: each once."""
    before = Covered([Imported("2026-05-27", 1, START, START + DAY_MS, is_applied=True)])
    covered = NOTHING | {Metric.VIEWS: before}
    text = "date,views,visits\n2026-05-27,30,12\n"
    [day], _ = read(tmp_path, text, covered=covered)
    assert list(day.spans) == [Metric.VISITS]
    days, tally = read(tmp_path, text, [Metric.VIEWS], covered=covered)
    assert not days
    assert tally.refused[Reason.ALREADY_IMPORTED] == 1


def test_a_day_without_an_hour(tmp_path: Path) -> None:
    """Samoa had no 2011-12-30: nothing can be laid there."""
    _, tally = read(tmp_path, "2011-12-30,5\n", zone="Pacific/Apia")
    assert "without an hour" in tally.samples[0].reason
