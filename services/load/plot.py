"""A run as a picture: latency and rate over time, and the latencies by percentile. Plain SVG, for any browser.

No plotting library: the three panels below take as many lines as a library's settings would, and a command that people install for
a counter should not bring one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from msgspec import Struct

from services.load.result import Result

WIDTH, PANEL_HEIGHT, LEFT, RIGHT, TOP, GAP = 860, 190, 76, 150, 64, 62
PANEL_WIDTH = WIDTH - LEFT - RIGHT
COLOURS = ("#0b61a4", "#c8501e", "#3b7d3b", "#7b4fa3")
NINES = (0.0, 90.0, 99.0, 99.9, 99.99, 99.999)
"""The marks of the percentile axis: each nine takes the same room."""

Point = tuple[float, float]
Scale = Callable[[float], float]


class Line(Struct, frozen=True):
    """One line of a panel."""

    name: str
    points: Sequence[Point]


def plot_svg(result: Result) -> str:
    """Return the picture of a run as an SVG document."""
    rows, balance = result.timeline, result.balance
    over_time = [
        Line("max", [(row.second, row.max_ms) for row in rows if row.max_ms]),
        Line("p99", [(row.second, row.p99_ms) for row in rows if row.p99_ms]),
        Line("p50", [(row.second, row.p50_ms) for row in rows if row.p50_ms]),
    ]
    interval = rows[1].second - rows[0].second if len(rows) > 1 else 1
    # The last answers come after the schedule's end: a row of its own that is no rate.
    scheduled = [row for row in rows if row.second < result.asked.seconds]
    rates = [
        Line("due", [(row.second, row.due / interval) for row in scheduled]),
        Line("sent", [(row.second, row.sent / interval) for row in scheduled]),
        Line("counted", [(row.second, row.counted / interval) for row in scheduled]),
    ]
    curves = [
        Line("due → acknowledged", _by_nines(result.latency_curve, result.latency.samples)),
        Line("service time", _by_nines(result.service_curve, result.service.samples)),
    ]
    rate = result.rate
    title = (
        f"{', '.join(result.asked.sites)[:60]}: asked {rate.asked:,.0f}/s, reached {rate.reached:,.0f}/s, "
        f"p50 {result.latency.p50_ms:.1f} ms, p99 {result.latency.p99_ms:.1f} ms"
    )
    books = (
        f"{result.started_at} · sent {balance.sent} = counted {balance.counted} + refused {sum(balance.refused.values())} + "
        f"unknown {balance.unknown} · {balance.words}"
    )
    panels = [
        _panel(
            0,
            "latency from the moment due, ms",
            over_time,
            is_log=True,
            marks=_second_marks(rows[-1].second if rows else 1),
        ),
        _panel(
            1,
            "views a second",
            rates,
            is_log=False,
            marks=_second_marks(rows[-1].second if rows else 1),
        ),
        _panel(
            2,
            "latency by percentile, ms",
            curves,
            is_log=True,
            marks=[(_nines(p), f"{p:g} %") for p in NINES],
        ),
    ]
    height = TOP + 3 * (PANEL_HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>'
        f'<text x="{LEFT}" y="40" fill="#444">{escape(books)}</text>'
        f"{''.join(panels)}</svg>\n"
    )


def _by_nines(curve: Sequence[Point], samples: int) -> list[Point]:
    """Return a curve on the axis of nines; 1,000 samples say nothing beyond 99.9 %, where the longest of them stands."""
    end = math.log10(max(samples, 1))
    return [(min(end, _nines(percent)), ms) for percent, ms in curve]


def _nines(percent: float) -> float:
    """Return where a percentile stands on an axis of nines: 90 % at 1, 99 % at 2; 100 % at the end."""
    return min(5.0, -math.log10(max(1e-5, 1 - percent / 100)))


def _second_marks(last: float) -> list[tuple[float, str]]:
    step = _round_up(max(last, 1) / 8)
    return [(second, f"{second:g} s") for second in _steps(0, last, step)]


def _panel(
    index: int, title: str, lines: Sequence[Line], *, is_log: bool, marks: list[tuple[float, str]]
) -> str:
    """Return one panel: frame, marks, lines and their names."""
    top = TOP + index * (PANEL_HEIGHT + GAP)
    values = [value for line in lines for _, value in line.points]
    right = max(
        [mark for mark, _ in marks] + [x for line in lines for x, _ in line.points] + [1e-9]
    )
    levels = _log_levels(values) if is_log else _levels(values)
    low, high = levels[0], levels[-1]

    def x_of(value: float) -> float:
        return LEFT + PANEL_WIDTH * value / right

    def y_of(value: float) -> float:
        share = (
            math.log(max(value, low) / low) / math.log(high / low)
            if is_log
            else (value - low) / (high - low)
        )
        return top + PANEL_HEIGHT * (1 - share)

    parts = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>']
    for level in levels:
        y = y_of(level)
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{level:,g}</text>'
        )
    for mark, name in marks:
        parts.append(
            f'<text x="{x_of(mark):.1f}" y="{top + PANEL_HEIGHT + 18}" text-anchor="middle" fill="#444">{name}</text>'
        )
    for number, line in enumerate(lines):
        parts.append(_drawn(line, COLOURS[number], x_of, y_of))
        y = top + 14 + 18 * number
        parts.append(
            f'<text x="{LEFT + PANEL_WIDTH + 10}" y="{y}" fill="{COLOURS[number]}">{escape(line.name)}</text>'
        )
    return "".join(parts)


def _drawn(line: Line, colour: str, x_of: Scale, y_of: Scale) -> str:
    if len(line.points) == 1:
        (x, y), *_ = line.points
        return f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}"/>'
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line.points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _log_levels(values: Sequence[float]) -> list[float]:
    """Return the powers of ten around the values."""
    positive = [value for value in values if value > 0] or [1.0]
    first = math.floor(math.log10(min(positive)))
    last = max(first + 1, math.ceil(math.log10(max(positive))))
    return [10.0**power for power in range(first, last + 1)]


def _levels(values: Sequence[float]) -> list[float]:
    """Return round levels from 0 to above the values."""
    step = _round_up(max([*values, 1e-9]) / 4)
    return list(_steps(0, max([*values, step]) + step * 0.999, step))


def _steps(first: float, last: float, step: float) -> Iterable[float]:
    return (first + step * number for number in range(int((last - first) / step + 1e-9) + 1))


def _round_up(value: float) -> float:
    """Return the least of 1, 2, 5 times a power of ten that is not below a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value * (1 - 1e-9))
