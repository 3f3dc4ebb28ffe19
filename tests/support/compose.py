"""The deployment of docker-compose.yml as a test runs it: a project, ports, networks and configuration of its own.

Everything is a call of the `docker` program with a time limit; whoever makes a `Stack` takes it `down`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.ports import LOOPBACK, free_port
from tests.support.process import http_get
from tests.support.visit_counter import REPOSITORY

COMMAND_SECONDS = 60.0
UP_SECONDS = 300
DOWN_SECONDS = 120.0
TAIL_LINES = 60
CAPTURED_MAX = 6_000
"""Characters of a failing command's output that its error shows."""


class ComposeError(AssertionError):
    """A docker command failed or took too long; the message has the end of what it printed."""


def docker(
    *arguments: str,
    seconds: float = COMMAND_SECONDS,
    stdin: str | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Run the docker program; return what it prints to stdout.

    Raises:
        ComposeError: it failed, or was not done in time.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        msg = f"docker {' '.join(arguments)}: not done within {seconds} s"
        raise ComposeError(msg) from error
    if done.returncode:
        told = f"{done.stdout}\n{done.stderr}"[-CAPTURED_MAX:]
        msg = f"docker {' '.join(arguments)}: exit status {done.returncode}\n{told}"
        raise ComposeError(msg)
    return done.stdout


def engine_answers() -> bool:
    """Claim that there is a Docker engine with Compose."""
    try:
        docker("info", seconds=20)
        docker("compose", "version", seconds=20)
    except (ComposeError, OSError):
        return False
    return True


class Stack:
    """One project.

    Attributes:
        directory: holds the copies of what the test changes.
        gateway, prometheus, alertmanager, grafana: base URLs.
        configuration: the folder that the services read.
    """

    def __init__(
        self, project: str, directory: Path, *, files: Sequence[str] = (), subnet: int = 88
    ) -> None:
        """Describe it; nothing starts yet.

        Args:
            project: the name of everything; left-overs of the same name are removed first.
            directory: for copies of the configuration.
            files: Compose files beside docker-compose.yml, seen from the top of the repository.
            subnet: third number of the addresses of the services' networks.
        """
        self.project = project
        self.directory = directory
        self._files = ["docker-compose.yml", *files]
        ports = {name: free_port() for name in ("gateway", "prometheus", "alertmanager", "grafana")}
        self.gateway, self.prometheus, self.alertmanager, self.grafana = (
            f"http://{LOOPBACK}:{port}" for port in ports.values()
        )
        self.configuration = directory / "visit-counter"
        shutil.copytree(REPOSITORY / "deploy" / "visit-counter", self.configuration)
        self.gateway_configuration = directory / "nginx"
        shutil.copytree(REPOSITORY / "deploy" / "nginx", self.gateway_configuration)
        self.environment = {
            "COMPOSE_PROFILES": "core,observability",
            "VISIT_COUNTER_PORT": f"{LOOPBACK}:{ports['gateway']}",
            "PROMETHEUS_PORT": str(ports["prometheus"]),
            "ALERTMANAGER_PORT": str(ports["alertmanager"]),
            "GRAFANA_PORT": str(ports["grafana"]),
            "VISIT_COUNTER_SUBNET": f"10.187.{subnet}.0/24",
            "VISIT_COUNTER_SUBNET_DYNAMIC": f"10.187.{subnet}.128/25",
            "VISIT_COUNTER_GATEWAY_ADDRESS": f"10.187.{subnet}.10",
            "VISIT_COUNTER_CONFIG": str(self.configuration),
            "VISIT_COUNTER_GATEWAY_CONFIG": str(self.gateway_configuration),
            "VISIT_COUNTER_IMAGE": f"{project}:local",
        }

    def compose(
        self, *arguments: str, seconds: float = COMMAND_SECONDS, stdin: str | None = None
    ) -> str:
        """Run `docker compose` on this project."""
        files = [part for file in self._files for part in ("-f", file)]
        return docker(
            "compose",
            "-p",
            self.project,
            *files,
            *arguments,
            seconds=seconds,
            stdin=stdin,
            environment=self.environment,
        )

    def up(self, *arguments: str) -> None:
        """Start what is not running and wait until all is healthy.

        Raises:
            ComposeError: with the state and last lines of what is not.
        """
        try:
            self.compose(
                *("up", "-d", "--wait", "--wait-timeout", str(UP_SECONDS), *arguments),
                seconds=UP_SECONDS + 300.0,
            )
        except ComposeError as error:
            msg = f"{error}\n{self.report()}"
            raise ComposeError(msg) from error

    def down(self) -> None:
        """Take everything away, volumes and image too; whatever state it is in."""
        self.compose(
            *("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5"),
            seconds=DOWN_SECONDS,
        )
        with contextlib.suppress(ComposeError):
            docker("image", "rm", self.environment["VISIT_COUNTER_IMAGE"])

    def report(self) -> str:
        """Return the state of all containers and what they said last."""
        with contextlib.suppress(ComposeError):
            state = self.compose("ps", "--all")
            return f"{state}\n{self.compose('logs', '--no-color', '--tail', str(TAIL_LINES))}"
        return "docker says nothing more"

    def containers(self, service: str = "") -> list[str]:
        """Return the ids of the running containers, of one service or of all."""
        return self.compose("ps", "--quiet", *([service] if service else [])).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        (found,) = json.loads(docker("inspect", container))
        assert isinstance(found, dict)
        return found

    def crash(self, container: str) -> None:
        """Kill a container's process as the kernel would; its restart policy brings it back.

        From here that takes root and an engine on this machine; else docker kills and starts it.
        """
        try:
            os.kill(self.inspect(container)["State"]["Pid"], signal.SIGKILL)
        except (PermissionError, ProcessLookupError):
            docker("kill", container)
            docker("start", container)

    def python(self, program: str, *, service: str = "cli") -> str:
        """Run a Python program in a container of the image, with the operator's secrets; return what it prints."""
        return self.compose(
            *("run", "--rm", "--no-deps", "-T", "--entrypoint", "python", service, "-"),
            stdin=program,
        )

    def cli(self, *arguments: str) -> str:
        """Run a command of `visit-counter` as the operator does."""
        user = f"{os.getuid()}:{os.getgid()}"
        return self.compose("run", "--rm", "-T", "--user", user, "cli", *arguments)

    def logs(self) -> str:
        """Return all that all containers ever said."""
        return self.compose("logs", "--no-color", "--no-log-prefix")

    def get(self, path: str) -> Any:
        """Read JSON through the gateway."""
        return json_of(f"{self.gateway}{path}")


def json_of(url: str) -> Any:
    """Read JSON.

    Raises:
        OSError: no answer, or another one than 200.
    """
    status, body = http_get(url)
    if status != 200:
        msg = f"{url}: {status} {body[:300]!r}"
        raise OSError(msg)
    return json.loads(body)
