"""The product's load generator against a deployment, with readers whose addresses and browsers a search can find again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.visit_counter import REPOSITORY

ADDRESS_PREFIX = "203.0.113."
"""RFC 5737: of nobody."""

AGENT_MARK = "131.0.61803.39887"
"""A release of a browser that nobody has."""

AGENT = f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{AGENT_MARK} Safari/537.36"
READERS = 250
PAGES = 40
END_SECONDS = 240.0
"""After the schedule: repeats of what got no answer (90 s at most), and the wait until all is counted."""


def write_access_log(path: Path) -> Path:
    """Write an access log of `READERS` readers on `PAGES` pages."""
    moment = "25/Nov/2026:08:00:00 +0700"
    lines = [
        f'{ADDRESS_PREFIX}{number % READERS + 1} - - [{moment}] "GET /tin-tuc/bai-{number % PAGES} HTTP/1.1" 200 5120 "-" "{AGENT}"'
        for number in range(READERS * 4)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Load:
    """`visit-counter load` in the background."""

    def __init__(self, url: str, site: str, *, rate: float, seconds: float, log: Path) -> None:
        """Describe it; `with` starts it, and ends it if the test fails meanwhile."""
        self._seconds = seconds
        self._argv = [sys.executable, "-m", "services.cli", "load", "--json", "--retry"]
        self._argv += ["--url", url, "--site", site, "--rate", str(rate), "--replay", str(log)]
        self._argv += ["--duration", f"{seconds:g}s", "--timeout", "5"]
        self._popen: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self._popen = subprocess.Popen(
            self._argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind."""
        assert self._popen is not None
        self._popen.kill()
        self._popen.communicate()

    @property
    def is_running(self) -> bool:
        """Claim that it has not ended yet."""
        return self._popen is not None and self._popen.poll() is None

    def result(self) -> dict[str, Any]:
        """Wait for the end and return what it found.

        Raises:
            AssertionError: it printed no result.
        """
        assert self._popen is not None
        printed, told = self._popen.communicate(timeout=self._seconds + END_SECONDS)
        assert printed, told
        found = json.loads(printed)
        assert isinstance(found, dict)
        return found
