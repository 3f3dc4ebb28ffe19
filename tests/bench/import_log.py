"""Lines a second of `visit-counter import-log`, on a log of a million lines made from a real one.

The real log is repeated every two days with other addresses; `pages only` keeps the lines that count, `gzip` packs it. One
process, the embedded pair, to the last delta counted and fsynced; a second import of the same file for what a repetition costs.
"""

from __future__ import annotations

import gzip
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.importer.judge import Judge, Period, Shown
from services.importer.line import parse_ncsa
from services.ingest.client_address import ClientFinder
from services.runtime.site import SiteSettings, make_site
from tests.support.access_log import ACCESS_LOG
from tests.support.bench import Bench
from tests.support.visit_counter import REPOSITORY, write_config
from visits.record import MOMENT_MAX

LINES = 1_000_000
RATE_MIN = 30_000
"""What was promised: lines a second."""

MEMORY_MAX_MB = 500
_TIME = re.compile(r"^(\d+\.\d+\.\d+)\.(\d+) (.*?)\[([^ ]+) \+0000\](.*)$", re.DOTALL)


def run(bench: Bench) -> None:
    """Measure the real mixture, its pages alone, and it packed."""
    real = ACCESS_LOG.read_text(encoding="utf-8").splitlines(keepends=True)
    files = {
        "real mixture": _write(bench.directory / "mixed.log", real),
        "pages only": _write(bench.directory / "pages.log", _pages(real)),
    }
    files["real mixture, gzip"] = bench.directory / "mixed.log.gz"
    # Never whole in memory: what this process holds when it forks would show as the import's memory.
    with (
        files["real mixture"].open("rb") as plain,
        gzip.open(files["real mixture, gzip"], "wb", compresslevel=6) as packed,
    ):
        shutil.copyfileobj(plain, packed)
    for round_number in bench.rounds():
        for name, path in files.items():
            _measure(bench, name, path, bench.directory / f"{path.name}-{round_number}")


def _measure(bench: Bench, name: str, path: Path, data: Path) -> None:
    """Import a file into a site of its own, twice."""
    data.mkdir()
    url = f"sqlite:{data / 'visit-counter.db'}"
    config = write_config(data / "visit-counter.toml", url, url, {"portal": {}})
    setup = f"{LINES:,} lines, {name}, embedded pair, one process"
    for title, target in (("import", RATE_MIN), ("import again", None)):
        began = time.monotonic()
        answer = _import(config, path)
        seconds = time.monotonic() - began
        assert answer["read"] == LINES == answer["counted"] + sum(answer["refused"].values())
        bench.record(title, LINES / seconds, "lines/s", setup=setup, at_least=target)
    memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    bench.record("import: most memory so far", memory_mb, "MB", setup=setup, at_most=MEMORY_MAX_MB)


def _import(config: Path, path: Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "services.cli", "import-log", str(path), "--site", "portal"]
    done = subprocess.run(
        [*argv, "--json", "--config", str(config)],
        capture_output=True, text=True, check=False, timeout=600, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _write(path: Path, real: list[str]) -> Path:
    """Write a log of `LINES` lines: the real ones again every two days, each time with other last bytes of the addresses."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_repeated(real))
    return path


def _repeated(real: list[str]) -> Iterator[str]:
    parts = []
    for line in real:
        match = _TIME.match(line)
        assert match is not None, line
        network, host, names, moment, rest = match.groups()
        at = datetime.strptime(moment, "%d/%b/%Y:%H:%M:%S")  # noqa: DTZ007  # UTC
        parts.append((network, int(host), names, at, rest))
    for number in range(LINES):
        again, index = divmod(number, len(parts))
        network, host, names, at, rest = parts[index]
        moment = (at + timedelta(days=2 * again)).strftime("%d/%b/%Y:%H:%M:%S")
        yield f"{network}.{(host + again) % 256} {names}[{moment} +0000]{rest}"


def _pages(real: Iterable[str]) -> list[str]:
    """Return the lines that count."""
    site = make_site("portal", SiteSettings(), 60, 2026)
    judge = Judge(site, ClientFinder(()), Period(0, MOMENT_MAX))
    return [line for line in real if isinstance(judge.judge(parse_ncsa(line)), Shown)]
