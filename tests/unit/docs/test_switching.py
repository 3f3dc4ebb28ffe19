"""The commands of docs/switching.md do what it says, run as a reader would: in its order, on an empty folder."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from services.cli import app
from tests.support.document import read_document
from tests.support.shown_command import shown_commands
from tests.support.visit_counter import REPOSITORY

SWITCHING = read_document(REPOSITORY / "docs" / "switching.md")
SHOWN_HOUR = datetime(2026, 11, 24, 8)  # noqa: DTZ001  # as it is shown: the portal's local time
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def this_hour() -> datetime:
    """Return the beginning of the portal's current hour."""
    return datetime.now(ZONE).replace(minute=0, second=0, microsecond=0, tzinfo=None)


def run(arguments: list[str]) -> str:
    """Run a command in the current folder and return what it printed."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def moved(argument: str, hour: datetime) -> str:
    """Return an argument with the hour that is shown in place of the hour of the run."""
    try:
        shown = datetime.fromisoformat(argument)
    except ValueError:
        return argument
    return (shown - SHOWN_HOUR + hour).isoformat(timespec="minutes")


def test_commands_print_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All commands succeed in their order; the dry run prints the lines of the page, and the ledger has every change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    [table] = SWITCHING.blocks_of("csv")
    [lines] = SWITCHING.blocks_of("text")
    Path("pages.csv").write_text(table, encoding="utf-8")
    hour = this_hour()
    for arguments in shown_commands(SWITCHING):
        printed = run([moved(word, hour) for word in arguments])
        while "--dry-run" in arguments and this_hour() != hour:
            # The hour ended meanwhile: the old counter is read in this one.
            hour = this_hour()
            printed = run([moved(word, hour) for word in arguments])
        assert "--dry-run" not in arguments or printed == lines
    entries = json.loads(run(["ledger", "--site", "thanhxuan", "--json"]))
    assert [(entry["n"], entry["outcome"]) for entry in entries] == [
        (155351, "applied"),
        (-120, "applied"),
        (0, "applied"),
    ]
    assert entries[0]["pages_n"] == 176
