"""The commands that correct numbers, on an embedded pair of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from services.cli import app
from visits.errors import DeltaError, SettingsError

REFERENCE = ["--total", "155351", "--year", "155277", "--month", "87424", "--week", "21559"]
LINES = [
    "Đang online: 0",
    "Lượt truy cập trong tuần: 21559",
    "Lượt truy cập trong tháng: 87424",
    "Lượt truy cập trong năm: 155277",
    "Tổng số truy cập: 155351",
]


@pytest.fixture(autouse=True)
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration of one site; commands run in it."""
    monkeypatch.chdir(tmp_path)
    assert run("init")
    assert run("site", "add", "portal")
    return tmp_path


def run(*arguments: str) -> str:
    """Run a command as a terminal would; its error is raised."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def open_balance(*arguments: str) -> str:
    return run("open-balance", "--site", "portal", "--evidence", "a screenshot", *arguments)


def entries() -> list[dict[str, Any]]:
    listed = run("ledger", "--site", "portal", "--json")
    return msgspec.json.decode(listed, type=list[dict[str, Any]])


def test_an_old_counters_numbers_are_carried_over() -> None:
    """The five lines read exactly what the old counter showed, and the ledger has the evidence."""
    assert "\n  ".join(LINES) in open_balance(*REFERENCE)
    [entry] = entries()
    assert (entry["outcome"], entry["n"], entry["evidence"]) == ("applied", 155351, "a screenshot")


def test_the_same_opening_balance_again_changes_nothing() -> None:
    """A command repeated by hand counts nothing twice."""
    open_balance(*REFERENCE)
    assert "counted already" in open_balance(*REFERENCE)
    assert len(entries()) == 1


def test_a_second_opening_balance_is_refused_unless_wanted() -> None:
    """Another opening balance of the metric names the first one; `--again` adds to it; other metrics are free."""
    open_balance(*REFERENCE)
    with pytest.raises(DeltaError, match="opening balance of 155351 visits"):
        open_balance("--total", "7")
    open_balance("--total", "7", "--again")
    open_balance("--total", "300000", "--metric", "views")
    assert [entry["n"] for entry in entries()] == [155351, 7, 300000]


def test_a_dry_run_writes_nothing() -> None:
    """`--dry-run` says how it would read, and the ledger stays empty."""
    assert "155351" in open_balance(*REFERENCE, "--dry-run")
    assert entries() == []


def test_numbers_that_contradict_one_another_are_refused_with_both() -> None:
    """A month above the year names both numbers."""
    with pytest.raises(DeltaError, match=r"year = 5 is less than month = 9"):
        open_balance("--total", "10", "--year", "5", "--month", "9")
    assert entries() == []


def test_pages_of_an_old_counter_are_read_from_a_file(portal: Path) -> None:
    """A CSV of page,views is carried over; a line that is none is named."""
    (portal / "pages.csv").write_text("page,views\n/a,56\nhttps://x.example/b?c=1,4\n", "utf-8")
    open_balance("--total", "60", "--metric", "views", "--pages", "pages.csv")
    assert (entries()[0]["pages"], entries()[0]["pages_n"]) == (2, 60)
    (portal / "bad.csv").write_text("/a,56\n/b,many\n", "utf-8")
    with pytest.raises(DeltaError, match=r"bad\.csv, line 2"):
        open_balance("--total", "60", "--pages", "bad.csv", "--again")


def test_a_correction_that_would_make_a_number_negative_is_refused_and_listed() -> None:
    """The refusal says which number in words, and stands in the ledger as refused."""
    open_balance(*REFERENCE)
    with pytest.raises(DeltaError, match=r"visits in all: 155351 and -155352 more"):
        run("adjust", "--site", "portal", "--amount", "-155352", "--reason", "robots")
    assert [entry["outcome"] for entry in entries()] == ["applied", "refused"]


def test_a_correction_within_a_span_names_the_hour_it_would_empty() -> None:
    """A span that has fewer than are to be taken away is refused with its hour."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    span = ["--from", hour.isoformat(), "--to", (hour + timedelta(hours=1)).isoformat()]
    open_balance(*REFERENCE)
    with pytest.raises(
        DeltaError, match=rf"visits of {hour:%Y-%m-%dT%H}:00Z: \d+ and -100000 more"
    ):
        run("adjust", "--site", "portal", "--amount", "-100000", "--reason", "lost", *span)


def test_a_correction_needs_something_to_correct() -> None:
    """Neither amount nor page: a sentence, and nothing in the ledger."""
    with pytest.raises(DeltaError, match="nothing to correct"):
        run("adjust", "--site", "portal", "--reason", "nothing")
    with pytest.raises(DeltaError, match="go together"):
        run("adjust", "--site", "portal", "--reason", "x", "--amount", "1", "--from", "2026-11-20")
    assert entries() == []


def test_pages_are_folded_into_other(portal: Path) -> None:
    """`forget-pages` folds what matches, and the ledger says how many."""
    (portal / "pages.csv").write_text("/a,5\n/junk/1,1\n/junk/2,1\n", "utf-8")
    open_balance("--total", "7", "--metric", "views", "--pages", "pages.csv")
    run("forget-pages", "/junk/**", "--site", "portal", "--reason", "invented")
    assert (entries()[1]["forget"], entries()[1]["forgotten"]) == ("/junk/**", 2)


def test_an_undeclared_site_names_those_there_are() -> None:
    """A site that is not declared is a sentence with the declared ones and the mend."""
    with pytest.raises(SettingsError, match=r"declared: portal.*site add other"):
        run("ledger", "--site", "other")
