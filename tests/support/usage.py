"""What a process has used: CPU time of all its threads and memory, from /proc (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """One look at a process.

    Attributes:
        cpu_seconds: user and system time of all threads since the start; in steps of 10 ms (proc(5), `stat`).
        resident_bytes: memory held now.
        resident_bytes_max: the most it ever held.
    """

    cpu_seconds: float
    resident_bytes: int
    resident_bytes_max: int


def usage(pid: int) -> Usage:
    """Look at a running process.

    Raises:
        OSError: it does not run.
    """
    # The name, in parentheses, may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    status = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    )
    return Usage(
        (int(fields[11]) + int(fields[12])) * TICK_SECONDS,
        int(status["VmRSS"].split()[0]) * 1024,
        int(status["VmHWM"].split()[0]) * 1024,
    )
