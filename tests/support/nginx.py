"""A real nginx on the loopback, as a gateway before our services."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.support.ports import free_port, is_listening
from tests.support.process import Process, ProcessError

START_TIMEOUT_SECONDS = 10


class Nginx(Process):
    """One nginx with a server a name, each on a port of its own."""

    def __init__(self, directory: Path, servers: Mapping[str, str]) -> None:
        """Write the configuration; nothing starts yet.

        Args:
            directory: folder for configuration, logs and temporary files; made if missing.
            servers: name → what stands in its `server` block beside `listen`.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.ports = {name: free_port() for name in servers}
        configuration = directory / "nginx.conf"
        configuration.write_text(_configuration(directory, servers, self.ports), encoding="utf-8")
        super().__init__(
            [_program(), "-p", directory, "-c", configuration, "-e", "stderr"],
            name="nginx",
            log_path=directory / "nginx.log",
            is_ready=lambda _process: all(is_listening(port) for port in self.ports.values()),
            ready_timeout_seconds=START_TIMEOUT_SECONDS,
        )

    def url(self, name: str) -> str:
        """Return a server's address."""
        return f"http://127.0.0.1:{self.ports[name]}"


def _configuration(directory: Path, servers: Mapping[str, str], ports: Mapping[str, int]) -> str:
    blocks = "\n".join(
        f"server {{ listen 127.0.0.1:{ports[name]};\n{text}\n}}" for name, text in servers.items()
    )
    temporary = "\n".join(
        f"{kind}_temp_path {directory / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Started by root, its workers would else be another user who may not enter the test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user}
daemon off; worker_processes 1; pid {directory / "nginx.pid"}; error_log stderr;
events {{ worker_connections 512; }}
http {{
access_log off;
{temporary}
{blocks}
}}
"""


def _program() -> str:
    # Debian keeps it where only root's PATH leads.
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = "nginx is missing: run scripts/test-tools.sh"
        raise ProcessError(message)
    return path
