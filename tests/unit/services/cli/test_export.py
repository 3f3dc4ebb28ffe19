"""All numbers of a site in one file, which add up."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.backends.sqlite import open_sqlite
from services.cli import app
from services.runtime.backend import Backends
from tests.support.logs import NOON
from tests.support.visit_counter import write_config
from tests.unit.services.upkeep.pair import count, views
from visits.counters import Metric
from visits.record import VERSION, Delta, Span, View

VIEWS = 60


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A configuration with an embedded file in which site `a` has views and a correction."""
    url = f"sqlite:{tmp_path / 'data.db'}"
    pair = Backends(*open_sqlite(tmp_path / "data.db"))
    await pair.open()
    delta = Delta(
        v=VERSION, site="a", id="carried-over-1", at=NOON, received=NOON, metric=Metric.VIEWS, spans=(Span(40),),
        pages={"/=1+1": 2}, who="=cmd", why="opening balance", evidence="a screenshot",
    )  # fmt: skip
    await count(pair, [*views(0, VIEWS), delta])
    await pair.close()
    return write_config(tmp_path / "visit-counter.toml", url, url, {"a": {}, "b": {}})


def exported(config: Path, *arguments: str) -> str:
    """Run the command and return what it printed."""
    result = CliRunner().invoke(app, ["export", "--config", str(config), "-s", "a", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def distinct() -> int:
    """Return how many different views of site `a` there are."""
    return len({view.id for view in views(0, VIEWS) if view.site == "a"})


def test_the_rows_add_up(config: Path) -> None:
    """Buckets and what stands before every bucket are the total; pages are the views that were counted."""
    lines = exported(config).removeprefix("\ufeff").splitlines()
    rows = list(csv.DictReader(lines))
    sums: Counter[tuple[str, str]] = Counter()
    for row in rows:
        sums[row["kind"], row["name"]] += int(row["n"])
    counted = distinct()
    assert sums["total", "views"] == counted + 40
    assert sums["bucket", "views"] == sums["UTC day", "views"] == counted
    assert sums["ledger applied", "views carried-over-1"] == 40
    days = [row for row in rows if row["kind"] == "page views" and row["from"]]
    assert sum(int(row["n"]) for row in days) == counted
    requests = [row for row in rows if (row["kind"], row["name"]) == ("requests", "counted")]
    assert {(row["from"], int(row["n"])) for row in requests} == {
        ("", counted),
        ("2026-11-24", counted),
    }


def test_json_says_of_which_moment_it_is(config: Path, tmp_path: Path) -> None:
    """The same rows, with log and position; into a file where one is named."""
    exported(config, "--format", "json", "--output", str(tmp_path / "a.json"))
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found["about"]["position"] == VIEWS + 1
    assert len(found["rows"]) == len(exported(config).splitlines()) - 1


def test_another_sites_numbers_are_not_in_it(config: Path) -> None:
    """Every view in it is of the site."""
    found = json.loads(exported(config, "--format", "json"))
    total = next(
        row["n"] for row in found["rows"] if (row["kind"], row["name"]) == ("total", "visitors")
    )
    seen = {view.visitor for view in views(0, VIEWS) if isinstance(view, View) and view.site == "a"}
    assert total == len(seen)


def test_a_site_that_is_not_declared_is_refused(config: Path) -> None:
    """Nothing is written."""
    result = CliRunner().invoke(app, ["export", "--config", str(config), "-s", "x"])
    assert result.exit_code == 1
    assert "no site 'x'" in str(result.exception)
