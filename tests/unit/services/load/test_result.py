"""What a result says: in words, as a picture, by its exit status."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import msgspec
import pytest
from rich.console import Console

from services.load.balance import Balance
from services.load.histogram import Histogram
from services.load.plot import plot_svg
from services.load.report import print_result
from services.load.result import Asked, Generating, Rate, Result, curve, percentiles
from services.load.timeline import Row


def result(**changes: object) -> Result:
    latencies = Histogram()
    for milliseconds in range(1, 1_001):
        latencies.record(milliseconds * 1_000)
    nothing = percentiles(Histogram())
    made = Result(
        schema=1,
        version="1",
        started_at="2026-11-25T10:00:00+00:00",
        interrupted=False,
        asked=Asked("http://a", ("<a&b>",), 500, 2, 1_000, 10, 10, 64, 10, False, True, 0),
        rate=Rate(500, 499, 498, is_reached=True),
        latency=percentiles(latencies),
        service=percentiles(latencies),
        declined=nothing,
        delay=nothing,
        visible=nothing,
        statuses={"202": 1_000},
        errors={},
        balance=Balance(
            1_005, 1_000, 1_000, {"bot": 4}, 1, True, {"a": 0}, {"a": 1_000}, 0, "all well"
        ),
        generator=Generating(0.1, 0.05, 64, 10, 0, 1, 1),
        timeline=tuple(
            Row(second, 500, 500, 500, 0, 0, 1.0, 5.0, 9.0, 3, 0) for second in range(2)
        ),
        latency_curve=curve(latencies),
        service_curve=curve(latencies),
    )
    return msgspec.structs.replace(made, **changes)


def words(found: Result) -> str:
    out = io.StringIO()
    print_result(found, Console(file=out, width=40, highlight=False, soft_wrap=True))
    return out.getvalue()


def test_the_books_stand_on_one_line_however_narrow_the_terminal() -> None:
    assert "\nsent 1005 = counted 1000 + refused 4 (bot 4) + unknown 1\n" in words(result())


def test_lines_without_samples_are_left_out() -> None:
    assert "declined" not in words(result())
    assert "declined" in words(result(declined=result().latency))


@pytest.mark.parametrize(
    ("closes", "is_reached", "status", "verdict"),
    [
        (True, True, 0, "the books close and the rate was reached"),
        (False, True, 1, "the books do not close"),
        (False, False, 1, "the books do not close"),
        (True, False, 2, "the rate was not reached"),
    ],
)
def test_the_exit_status_puts_the_books_before_the_rate(
    closes: bool, is_reached: bool, status: int, verdict: str
) -> None:
    found = result(
        balance=msgspec.structs.replace(result().balance, closes=closes),
        rate=msgspec.structs.replace(result().rate, is_reached=is_reached),
    )
    assert found.exit_status == status
    assert verdict in words(found)


def test_a_result_survives_json_and_a_picture_of_it_is_well_formed() -> None:
    assert msgspec.json.decode(msgspec.json.encode(result()), type=Result) == result()
    picture = ET.fromstring(plot_svg(result()))  # our own
    assert "<a&b>" in "".join(picture.itertext())
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 8


def test_a_run_without_an_answer_has_a_picture_too() -> None:
    empty = result(timeline=(), latency_curve=(), service_curve=())
    ET.fromstring(plot_svg(empty))  # our own


def test_a_curve_rises_to_the_longest() -> None:
    points = result().latency_curve
    assert points[-1] == (100.0, 1_000.0)
    assert sorted(points) == list(points)
