"""`import-log` on an embedded pair of its own: what it adds, that nothing counts twice, and what it says."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from typer.testing import CliRunner

from services.cli import app
from services.cli.option import configuration
from services.importer.source import SourceError
from services.runtime.backend import make_backends
from tests.support.access_log import ACCESS_LOG, count, line
from tests.support.logs import view
from visits.codec import encode_record
from visits.errors import DeltaError, InputError

LINES = ACCESS_LOG.read_text(encoding="utf-8").splitlines(keepends=True)
EXPECTED = count(LINES, ZoneInfo("Asia/Ho_Chi_Minh"))
MIDNIGHT = 1_779_814_800
"""2026-05-27T00:00:00+07:00, Unix seconds."""


@pytest.fixture(autouse=True)
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration of one site; commands run in it."""
    monkeypatch.chdir(tmp_path)
    run("init")
    run("site", "add", "portal")
    return tmp_path


def run(*arguments: str | Path) -> str:
    """Run a command as a terminal would; its error is raised."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def import_log(*arguments: str | Path) -> dict[str, Any]:
    """Import and return the answer."""
    answer = run("import-log", *arguments, "--site", "portal", "--json")
    # Only `main` keeps log lines out of stdout.
    found = msgspec.json.decode(answer.splitlines()[-1], type=dict[str, Any])
    assert found["read"] == found["counted"] + sum(found["refused"].values())
    return found


def numbers(*values: bytes) -> dict[str, dict[str, int]]:
    """Append records, count them, and return the site's counters and pages."""

    async def read() -> dict[str, dict[str, int]]:
        backends = make_backends(configuration(None), exclusive=False)
        await backends.open()
        try:
            if values:
                await backends.log.append(0, [(b"portal", value) for value in values])
            dumped: dict[str, Any] = await backends.store.dump(0)
            return {
                name: dict(dumped.get(name, {}).get("portal", {})) for name in ("counters", "pages")
            }
        finally:
            await backends.close()

    return asyncio.run(read())


def write(name: str, lines: Sequence[str]) -> Path:
    path = Path(name)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_a_real_log_becomes_history() -> None:
    """Totals, hours and pages read what an independent count of the same lines gives."""
    answer = import_log(ACCESS_LOG)
    found = numbers()
    letters = {"v": "views", "s": "visits", "p": "visitors"}
    assert {letters[k]: n for k, n in found["counters"].items() if k in letters} == answer["totals"]
    for letter, name in letters.items():
        hours = {int(k[2:]): n for k, n in found["counters"].items() if k[:2] == f"{letter}b"}
        assert hours == EXPECTED.hours[name]
    assert found["pages"] == EXPECTED.pages
    assert (answer["read"], answer["counted"]) == (5000, EXPECTED.views)
    assert answer["deltas_written"] == 9
    assert answer["deltas_uncounted"] == 0


def test_again_changes_nothing() -> None:
    """The same command, the same lines under another name, packed: nothing counts twice."""
    first = import_log(ACCESS_LOG)
    before = numbers()
    packed = Path("access.log.1.gz")
    packed.write_bytes(gzip.compress(ACCESS_LOG.read_bytes()))
    for path in (ACCESS_LOG, packed):
        answer = import_log(path)
        assert (answer["counted"], answer["deltas_written"]) == (0, 0)
        assert answer["refused"]["already_imported"] == first["counted"]
    assert numbers() == before


def test_piece_by_piece_is_the_whole() -> None:
    """A log that is imported as it grows ends with the numbers of one import, but for lines of the cut's very second."""
    lines = [line(MIDNIGHT + 700 * n, f"/{n % 7}", f"203.0.113.{n % 5}") for n in range(400)]
    for size in (1, 100, 101, 350, 400):
        import_log(write("growing.log", lines[:size]))
    grown = numbers()
    run("site", "add", "other")
    run("import-log", "growing.log", "--site", "other")
    expected = count(lines, ZoneInfo("Asia/Ho_Chi_Minh"))
    assert {letter: grown["counters"][letter] for letter in "vsp"} == {
        "v": expected.views,
        "s": expected.visits,
        "p": expected.visitors,
    }
    assert grown["pages"] == expected.pages


def test_a_dry_run_writes_nothing() -> None:
    """It says what it would add."""
    answer = import_log(ACCESS_LOG, "--dry-run")
    assert answer["totals"]["views"] == EXPECTED.views
    assert answer["deltas_written"] == 0
    assert import_log(ACCESS_LOG)["counted"] == EXPECTED.views


def test_the_time_of_an_opening_balance_counts_once() -> None:
    """What an old counter had contains the log's visits; the views, which it had not, are imported if asked for."""
    run("open-balance", "--site", "portal", "--total", "9000", "--evidence", "a letter")
    answer = import_log(ACCESS_LOG)
    assert answer["counted"] == 0
    assert answer["refused"]["opening_balance"] == 5000
    assert import_log(ACCESS_LOG, "--metric", "views")["counted"] == EXPECTED.views
    counters = numbers()["counters"]
    assert (counters["v"], counters["s"]) == (EXPECTED.views, 9000)
    with pytest.raises(DeltaError, match="opening balance"):
        import_log(ACCESS_LOG, "--since", "2015-05-01")


def test_days_of_live_counting_count_once() -> None:
    """From the first live day on nothing is imported, but for what comes before an `--until` of that day."""
    live = encode_record(view(MIDNIGHT * 1000, site="portal", id="live-view-1"))
    numbers(live)
    hour = 3600
    path = write("a.log", [line(MIDNIGHT - hour), line(MIDNIGHT + hour), line(MIDNIGHT + 3 * hour)])
    answer = import_log(path)
    assert answer["counted"] == 1
    assert answer["refused"] == {"live": 2}
    answer = import_log(path, "--until", "2026-05-27T02:00")
    assert answer["counted"] == 1
    assert answer["refused"] == {"already_imported": 1, "after": 1}
    assert numbers()["counters"]["v"] == 3
    with pytest.raises(DeltaError, match="live counting began on 2026-05-27"):
        import_log(path, "--until", "2026-06-01")


def test_another_source_adds() -> None:
    """A second server's log of the same days is added when it is given a name, once."""
    first = write("web1.log", [line(MIDNIGHT, address="203.0.113.1")])
    second = write("web2.log", [line(MIDNIGHT, address="203.0.113.2")])
    import_log(first)
    assert import_log(second)["refused"] == {"already_imported": 1}
    for _ in range(2):
        import_log(second, "--source", "web2")
    assert numbers()["counters"]["v"] == 2


def test_day_totals_are_carried_over() -> None:
    """An old counter's export: the days read what it says; the ledger says that their hours are estimated."""
    path = write("totals.csv", ["date,visits\n", "2026-05-26,100\n", "2026-05-27,23\n"])
    for _ in range(2):
        answer = import_log(path)
    counters = numbers()["counters"]
    assert answer["refused"] == {"already_imported": 2, "no_request": 1}
    assert counters["s"] == 123
    assert sum(n for name, n in counters.items() if name.startswith("sb")) == 123
    assert "v" not in counters
    listed = run("ledger", "--site", "portal", "--json")
    entries = msgspec.json.decode(listed, type=list[dict[str, Any]])
    assert {(entry["why"], entry["estimated"]) for entry in entries} == {
        ("import: day totals", True)
    }


def test_nothing_personal_is_kept() -> None:
    """No address and no user agent of the log stands in the file that the command wrote."""
    import_log(ACCESS_LOG)
    kept = b"".join(path.read_bytes() for path in Path("data").iterdir())
    assert len(kept) > 20_000
    for text in LINES[:500]:
        address, agent = text.split(" ")[0], text.rsplit('"', 2)[1]
        assert address.encode() not in kept
        assert len(agent) < 20 or agent.encode() not in kept


def test_the_table_says_how_it_adds_up() -> None:
    """Read = counted + refused stands in a line of its own, with the reasons below it."""
    output = run("import-log", ACCESS_LOG, "--site", "portal")
    assert f"read 5000 = counted {EXPECTED.views} + refused {5000 - EXPECTED.views}" in output
    assert "asset" in output
    assert "9 deltas written and counted" in output


def test_files_that_are_no_logs_are_one_sentence() -> None:
    """With the file's name, the line and the reason."""
    with pytest.raises(
        InputError, match=r"none of the 2 lines can be read; x\.log, line 1: no line"
    ):
        import_log(write("x.log", ["hello\n", "world\n"]))
    with pytest.raises(SourceError, match="named twice"):
        import_log(ACCESS_LOG, ACCESS_LOG)
    with pytest.raises(SourceError, match=r"nowhere\.log cannot be read"):
        import_log("nowhere.log")
    with pytest.raises(SourceError, match="a source's name"):
        import_log(ACCESS_LOG, "--source", "Web 2")
