"""A program that a test starts, pauses, kills and restarts.

All methods block. In a test with an event loop that must go on meanwhile, call the slow ones
(`start`, `restart`, `terminate`) as `await asyncio.to_thread(process.restart)`.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.support.reaper import Reaper

# How often readiness is asked for, in seconds.
POLL_SECONDS = 0.02

# Lines of a program's output shown when it does not start.
TAIL_LINES = 40

_running: dict[int, Process] = {}
_reaper: Reaper | None = None


class ProcessError(AssertionError):
    """A program did not start, get ready or end; the message has its last output."""


class Process:
    """One program, its log file, and the signals a test sends it.

    It runs in a session of its own, is killed when the test run ends, and appends what it prints
    (both streams) to `log_path` over all its lives.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        name: str,
        log_path: Path,
        is_ready: Callable[[Process], bool] | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        ready_timeout_seconds: float = 60,
    ) -> None:
        """Describe the program; nothing starts yet.

        Args:
            argv: program and arguments, passed without a shell.
            name: what messages call it.
            log_path: file for its output; its folder is made.
            is_ready: asked every 20 ms after a start until true; None means at once.
            environment: variables added to those of the test run.
            directory: where it runs; None means the current directory.
            ready_timeout_seconds: how long a start may take.
        """
        self.argv = [str(argument) for argument in argv]
        self.name = name
        self.log_path = log_path
        self._is_ready = is_ready
        self._environment = {**os.environ, **(environment or {})}
        self._directory = directory
        self._ready_timeout_seconds = ready_timeout_seconds
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        """Start and wait until ready."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill it if it still runs."""
        self.kill()

    @property
    def pid(self) -> int:
        """The process id, of the last life if it has ended."""
        if self._popen is None:
            message = f"{self.name} was never started"
            raise ProcessError(message)
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last life, negative for a signal; None while it runs."""
        return None if self._popen is None else self._popen.poll()

    def start(self, *, wait: bool = True) -> None:
        """Start the program, and wait until it is ready unless told not to.

        Raises:
            ProcessError: it runs already, ended early or was not ready in time.
        """
        if self.is_running:
            message = f"{self.name} runs already"
            raise ProcessError(message)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
            )
        _watch(self)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_seconds: float | None = None) -> None:
        """Wait until the program says that it is ready.

        Raises:
            ProcessError: it ended or the time passed; it is killed then.
        """
        limit = self._ready_timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + limit
        while self._is_ready is not None and not self._is_ready(self):
            if not self.is_running:
                self._fail(f"ended with {self.exit_code} before it was ready")
            if time.monotonic() > deadline:
                self._fail(f"was not ready after {limit:g} s")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """SIGKILL the program with its children and wait for its end; nothing if it has ended."""
        if self._popen is None:
            return
        # Children may outlive their parent: the group is signalled even when the leader has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.pid in _running:
                os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        _forget(self)

    def terminate(self, timeout_seconds: float = 15) -> int:
        """Send SIGTERM, wait for the end and return the exit code (negative for a signal).

        Raises:
            ProcessError: it still ran after the time; it is killed then.
        """
        self.signal(signal.SIGTERM)
        return self.wait(timeout_seconds)

    def wait(self, timeout_seconds: float) -> int:
        """Wait until the program ends by itself and return its exit code.

        Raises:
            ProcessError: it still ran after the time; it is killed then.
        """
        assert self._popen is not None
        try:
            code = self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._fail(f"still ran after {timeout_seconds:g} s")
        self.kill()
        return code

    def pause(self) -> None:
        """SIGSTOP: the program keeps its connections and does nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: the program goes on where it was paused."""
        self.signal(signal.SIGCONT)

    def restart(self) -> None:
        """SIGKILL the program if it runs, start it again and wait until it is ready."""
        self.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send any signal to the program alone, not to its children.

        Raises:
            ProcessError: it does not run.
        """
        if not self.is_running:
            message = f"{self.name} does not run"
            raise ProcessError(message)
        os.kill(self.pid, number)

    def output(self, *, since_start: bool = False) -> str:
        """Return what the program printed, over all lives or since the last start."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start if since_start else 0)
            return log.read().decode("utf-8", errors="replace")

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines of the output."""
        return "\n".join(self.output().splitlines()[-lines:])

    def resident_bytes(self) -> int:
        """Return the memory the program holds now, in bytes (VmRSS of /proc/PID/status)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def _fail(self, what: str) -> None:
        self.kill()
        message = f"{self.name} {what}; its last output:\n{self.tail()}"
        raise ProcessError(message)


def running_processes() -> list[Process]:
    """Return the processes of this test run that have not been ended."""
    return list(_running.values())


def wait_until(
    condition: Callable[[], bool], *, timeout_seconds: float, what: str = "the condition"
) -> None:
    """Wait until the condition holds, asking every 20 ms.

    Raises:
        ProcessError: it did not hold in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"waited {timeout_seconds:g} s for {what}"
            raise ProcessError(message)
        time.sleep(POLL_SECONDS)


def http_get(url: str, timeout_seconds: float = 5) -> tuple[int, bytes]:
    """GET a plain http URL and return status and body.

    Raises:
        OSError: no connection or no whole answer in time.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)
    try:
        connection.request("GET", parts.path + ("?" + parts.query if parts.query else ""))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def http_post(
    url: str, body: bytes, timeout_seconds: float = 10, content_type: str = ""
) -> tuple[int, bytes]:
    """POST to a plain http URL as a browser does and return status and body; without a type unless told.

    Raises:
        OSError: no connection or no whole answer in time.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)
    try:
        headers = {"User-Agent": "Mozilla/5.0 Firefox/130.0"}
        if content_type:
            headers["Content-Type"] = content_type
        connection.request("POST", parts.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def answers_ok(url: str) -> bool:
    """Say whether a GET of the URL is answered 200 within a second."""
    try:
        return http_get(url, timeout_seconds=1)[0] == http.HTTPStatus.OK
    except OSError:
        return False


def _watch(process: Process) -> None:
    global _reaper  # noqa: PLW0603 - one for the whole run, started when the first program is
    if _reaper is None:
        _reaper = Reaper()
    _reaper.watch(process.pid)
    _running[process.pid] = process


def _forget(process: Process) -> None:
    if _running.pop(process.pid, None) is not None and _reaper is not None:
        _reaper.forget(process.pid)


@atexit.register
def _kill_all() -> None:
    for process in running_processes():
        process.kill()
    if _reaper is not None:
        _reaper.close()
