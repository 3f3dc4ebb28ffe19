"""wrk, the closed-loop HTTP client in C: sends views as a browser behind a proxy does, each with an id of its own, or reads.

Closed loop: a connection sends its next request when the last one was answered. So its percentiles say how long a request took
at the rate the server itself chose, not how long readers would wait at a given rate.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import ProcessError

SCRIPT = Path(__file__).with_name("wrk_views.lua")
READ_SCRIPT = Path(__file__).with_name("wrk_read.lua")
READERS = 10_000
PAGES = 500


@dataclass(frozen=True)
class WrkResult:
    """What one run of wrk saw.

    Attributes:
        requests: answers.
        seconds: how long it took.
        errors: no answer, or a status above 399.
        p50_ms: half of the answers came within this time.
        p99_ms: 99 % of them did.
        max_ms: the slowest.
    """

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def send_views(
    base_url: str,
    sites: list[str],
    seconds: float,
    *,
    connections: int = 64,
    has_browser_headers: bool = True,
) -> WrkResult:
    """Send views with one thread as fast as they are answered; blocks.

    Args:
        base_url: of ingest, whose `trusted_proxies` name the loopback: every request tells another reader's address.
        sites: each view is for one of them, in turn.
        seconds: how long, in whole seconds.
        connections: how many connections, each with one request at a time.
        has_browser_headers: the headers a Chromium and a proxy send, 18 of them; else the four that are needed.

    Raises:
        ProcessError: wrk is missing or failed.
    """
    seed = f"{random.randrange(16**8):08x}"
    headers = "browser" if has_browser_headers else "few"
    arguments = [seed, headers, str(READERS), str(PAGES), *sites]
    return _run(SCRIPT, base_url, arguments, seconds, connections)


def read(
    base_url: str, paths: list[str], seconds: float, *, connections: int = 64, headers: str = ""
) -> WrkResult:
    """Ask for paths in turn with one thread as fast as they are answered; blocks.

    Args:
        base_url: of the api.
        paths: with their queries.
        seconds: how long, in whole seconds.
        connections: how many connections, each with one request at a time.
        headers: further header lines, each ended by CR LF.

    Raises:
        ProcessError: wrk is missing or failed.
    """
    return _run(READ_SCRIPT, base_url, [headers, *paths], seconds, connections)


def _run(
    script: Path, base_url: str, arguments: list[str], seconds: float, connections: int
) -> WrkResult:
    if shutil.which("wrk") is None:
        raise ProcessError("wrk is missing: run scripts/test-tools.sh bench")
    command = ["wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{max(1, round(seconds))}s", "--script", str(script), base_url]
    command += ["--", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    line = done.stdout.rpartition("RESULT ")[2]
    if done.returncode != 0 or not line.startswith("{"):
        raise ProcessError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    return WrkResult(**json.loads(line))
