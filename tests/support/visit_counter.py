"""Our own services as subprocesses, and the configuration file they read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomlkit
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Process, answers_ok, http_get

REPOSITORY = Path(__file__).resolve().parents[2]

START_TIMEOUT_SECONDS = 30


class Service(Process):
    """One `visit-counter` command that serves: `up`, `ingest`, `aggregator` or `api`.

    It is ready when /readyz answers 200, and keeps its port over kills and restarts.
    """

    def __init__(
        self,
        command: str,
        config: Path | None,
        *,
        directory: Path,
        port: int | None = None,
        arguments: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        """Describe the service; nothing starts yet.

        Args:
            command: what to run.
            config: the configuration file; None runs `up` without one.
            directory: where it runs and logs.
            port: where it listens; a free one if None.
            arguments: further arguments.
            environment: variables added to those of the test run.
            name: the log file's name; the command and the port if None.
        """
        self.command = command
        self.port = free_port() if port is None else port
        self.base_url = f"http://{LOOPBACK}:{self.port}"
        called = name or f"{command}-{self.port}"
        config_arguments: list[str | Path] = [] if config is None else ["--config", config]
        address = ["--host", LOOPBACK, "--port", str(self.port)]
        super().__init__(
            [
                sys.executable,
                "-m",
                "services.cli",
                command,
                *config_arguments,
                *address,
                *arguments,
            ],
            name=called,
            log_path=directory / f"{called}.log",
            is_ready=lambda _process: answers_ok(f"{self.base_url}/readyz"),
            environment={"PYTHONPATH": str(REPOSITORY), **(environment or {})},
            directory=directory,
            ready_timeout_seconds=START_TIMEOUT_SECONDS,
        )

    def metrics(self) -> list[Sample]:
        """Return all samples of /metrics.

        Raises:
            OSError: the service does not answer.
        """
        text = http_get(f"{self.base_url}/metrics")[1].decode("utf-8")
        return [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of that name that carry these labels; 0 if there is none.

        Args:
            name: the sample's full name, for example `visit_counter_acknowledged_total`.
            labels: labels a sample must have; it may have others.
        """
        return sum(
            sample.value
            for sample in self.metrics()
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def write_config(
    path: Path,
    log_url: str,
    store_url: str,
    sites: Mapping[str, Mapping[str, object]],
    *,
    server: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
    **settings: object,
) -> Path:
    """Write visit-counter.toml and return its path.

    Args:
        path: the file to write.
        log_url: `sqlite:FILE` or `kafka://…`.
        store_url: `sqlite:FILE`, `redis://…` or `redis-cluster://…`.
        sites: the settings of each site by its id.
        server: the table `[server]`.
        defaults: the table `[defaults]`, for all sites.
        settings: further top-level keys; a mapping becomes a table, and `log` and `store` join
            their address, for example `log={"partitions": 4}`.
    """
    content: dict[str, object] = {
        name: value for name, value in settings.items() if not isinstance(value, Mapping)
    }
    content |= {name: dict(value) for name, value in settings.items() if isinstance(value, Mapping)}
    content["log"] = {"url": log_url, **_table(settings.get("log"))}
    content["store"] = {"url": store_url, **_table(settings.get("store"))}
    if server:
        content["server"] = dict(server)
    if defaults:
        content["defaults"] = dict(defaults)
    content["sites"] = {name: dict(values) for name, values in sites.items()}
    path.write_text(tomlkit.dumps(content), encoding="utf-8")
    return path


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
