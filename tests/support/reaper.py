"""Ends the processes of a test run when the run itself is gone.

`atexit` and fixture finalizers do not run when pytest is killed with SIGKILL. So a second process,
this file run as a program, reads the process groups to watch from a pipe, a line `+PGID` or
`-PGID` each. The pipe closes when the test run ends, however it ends; what is still watched then
is killed. It imports nothing heavy: it lives beside every run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


class Reaper:
    """The test run's end of the pipe."""

    def __init__(self) -> None:
        """Start the watching process, in a session of its own so that Ctrl-C does not reach it."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """Kill this process group if the run ends before `forget` names it."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Leave this process group alone from now on: it has ended."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the watching process, which kills what is still watched."""
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=5)

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.write(line.encode("ascii"))
            pipe.flush()


def main() -> None:
    """Read the groups to watch until the pipe closes, then kill those left."""
    watched: dict[int, str] = {}
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            watched[group] = started_at(group)
        else:
            watched.pop(group, None)
    for group, start in watched.items():
        # A number that the kernel has since given to another process is not ours to kill.
        if start and started_at(group) == start:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)


def started_at(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot, or "" if it is gone or unknown.

    Field 22 of /proc/PID/stat, see proc(5); the name in field 2 may hold blanks and brackets.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


if __name__ == "__main__":
    main()
