"""The harness runs, pauses and ends programs, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.ports import free_port, is_listening
from tests.support.process import Process, ProcessError, answers_ok, http_get, wait_until

SERVER = "import http.server as h, sys; h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]))"


def http_server(directory: Path) -> tuple[Process, str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    process = Process(
        [sys.executable, "-c", SERVER, str(port)],
        name="server",
        log_path=directory / "server.log",
        is_ready=lambda _process: answers_ok(url),
        directory=directory,
    )
    return process, url


def test_a_killed_server_comes_back_on_its_port(tmp_path: Path) -> None:
    """After `restart` a new process answers on the same port."""
    process, url = http_server(tmp_path)
    with process:
        first = process.pid
        process.restart()
        assert process.pid != first
        assert http_get(url)[0] == 200
    assert not process.is_running
    assert process.exit_code == -signal.SIGKILL


def test_a_paused_server_accepts_and_does_not_answer(tmp_path: Path) -> None:
    """A paused process keeps its port and answers only after `resume`."""
    process, url = http_server(tmp_path)
    with process:
        process.pause()
        with pytest.raises(TimeoutError):
            http_get(url, timeout_seconds=0.3)
        process.resume()
        assert http_get(url)[0] == 200


def test_a_program_that_ends_early_is_told_with_its_output(tmp_path: Path) -> None:
    """A start that fails raises at once and shows what the program said."""
    argv = [sys.executable, "-c", "print('no such setting'); raise SystemExit(3)"]
    log = tmp_path / "log"
    process = Process(argv, name="broken", log_path=log, is_ready=lambda _process: False)
    with pytest.raises(ProcessError, match=r"(?s)ended with 3.*no such setting"):
        process.start()


def test_a_program_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    """A start that takes too long raises and leaves no process."""
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    log = tmp_path / "log"
    process = Process(argv, name="slow", log_path=log, is_ready=lambda _process: False)
    process.start(wait=False)
    with pytest.raises(ProcessError, match="was not ready"):
        process.wait_ready(0.2)
    assert not process.is_running


def test_terminate_gives_the_exit_code(tmp_path: Path) -> None:
    """A program that handles SIGTERM ends with its own code."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('waiting', flush=True)\n"
        "time.sleep(60)"
    )
    process = Process(
        [sys.executable, "-c", program],
        name="polite",
        log_path=tmp_path / "log",
        is_ready=lambda process: "waiting" in process.output(since_start=True),
    )
    with process:
        assert process.terminate() == 7


def test_nothing_outlives_a_test_run_that_was_killed(tmp_path: Path) -> None:
    """When the run itself gets SIGKILL, the programs it started end within seconds."""
    port = free_port()
    run = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.support.process import Process\n"
        f"argv = [sys.executable, '-c', {SERVER!r}, '{port}']\n"
        f"Process(argv, name='server', log_path=Path({str(tmp_path / 'log')!r})).start()\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", run]) as popen:
        try:
            wait_until(lambda: is_listening(port), timeout_seconds=20, what="the server")
        finally:
            os.kill(popen.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_listening(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_listening(port)
