"""A benchmark run as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.bench import Figure, Target

WIDTH_WITHOUT_TERMINAL = 150
WHOLE_FROM = 100
"""From here on a value is printed without decimals."""


def print_report(figures: Sequence[Figure], machine: Mapping[str, str]) -> None:
    """Print the machine and one table of all figures to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_WITHOUT_TERMINAL)
    console.print(" · ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    console.print(_table(figures))


def write_report(figures: Sequence[Figure], machine: Mapping[str, str], directory: Path) -> Path:
    """Write the run as JSON, under its time and as `latest.json`; return the first path."""
    now = datetime.now(UTC)
    content = {
        "taken_at": now.isoformat(timespec="seconds"),
        "machine": dict(machine),
        "figures": [_as_json(figure) for figure in figures],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    directory.mkdir(exist_ok=True)
    path = directory / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(text, encoding="utf-8")
    (directory / "latest.json").write_text(text, encoding="utf-8")
    return path


def _table(figures: Sequence[Figure]) -> Table:
    table = Table("figure", "set-up", title_justify="left")
    for column in ("median", "min … max", "unit", "target", "met"):
        table.add_column(column, justify="right" if column in {"median", "min … max"} else "left")
    benchmark = ""
    for figure in figures:
        if figure.benchmark != benchmark:
            benchmark = figure.benchmark
            table.add_section()
            table.add_row(f"[bold]{benchmark}")
        met = {True: "[green]yes", False: "[red]no", None: ""}[figure.is_met]
        spread = f"{_number(min(figure.values))} … {_number(max(figure.values))}"
        table.add_row(
            figure.name,
            figure.setup,
            _number(figure.median),
            spread,
            figure.unit,
            _target(figure.target),
            met,
        )
    return table


def _as_json(figure: Figure) -> dict[str, object]:
    target = figure.target
    return {
        "benchmark": figure.benchmark,
        "name": figure.name,
        "setup": figure.setup,
        "unit": figure.unit,
        "values": figure.values,
        "median": figure.median,
        "target": None if target is None else _target(target),
        "met": figure.is_met,
    }


def _target(target: Target | None) -> str:
    if target is None:
        return ""
    return f"{'≥' if target.is_floor else '≤'} {_number(target.limit)}"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:.3g}"
