"""A Prometheus that asks processes of a test, with the rules that are deployed; and the Redis exporter."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.ports import LOOPBACK, free_port, is_listening
from tests.support.process import Process, answers_ok
from tests.support.promtool import RULES

SCRAPE_SECONDS = 1
RULE_INTERVAL_SECONDS = 2
"""Instead of the minutes that rules of long windows take: a test does not wait for them."""


class Prometheus(Process):
    """One server, which forgets everything with its folder."""

    def __init__(self, directory: Path, jobs: Sequence[dict[str, Any]]) -> None:
        """Describe it; `jobs` are `scrape_configs`."""
        self.base_url = f"http://{LOOPBACK}:{(port := free_port())}"
        folder = directory / "prometheus"
        folder.mkdir(parents=True)
        config = folder / "prometheus.yml"
        every = {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
        }
        config.write_text(
            yaml.safe_dump(
                {
                    "global": every,
                    "rule_files": [str(_hastened(rules, folder)) for rules in RULES],
                    "scrape_configs": list(jobs),
                }
            ),
            encoding="utf-8",
        )
        super().__init__(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={LOOPBACK}:{port}",
                "--log.level=warn",
            ],
            name="prometheus",
            log_path=directory / "prometheus.log",
            is_ready=lambda _process: answers_ok(f"{self.base_url}/-/ready"),
        )

    def ask(self, path: str, **parameters: str) -> Any:  # as many forms as questions
        """Return the `data` of an answer of the HTTP API.

        Raises:
            OSError: it does not answer, or the question is wrong.
        """
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.base_url}/api/v1/{path}?{query}", timeout=30) as answer:  # noqa: S310  # our own
            return json.load(answer)["data"]

    def numbers(self, expr: str, start: float | None = None, end: float | None = None) -> int:
        """Return how many numbers (NaN is none) an expression has, now or over a time."""
        if start is None or end is None:
            found = self.ask("query", query=expr)["result"]
            values = [series["value"][1] for series in found]
        else:
            found = self.ask("query_range", query=expr, start=str(start), end=str(end), step="1")[
                "result"
            ]
            values = [value for series in found for _, value in series["values"]]
        return sum(value != "NaN" for value in values)


class RedisExporter(Process):
    """Shows what a Redis server says of itself."""

    def __init__(self, directory: Path, redis_port: int) -> None:
        """Describe it."""
        self.port = free_port()
        super().__init__(
            [
                "prometheus-redis-exporter",
                "-redis.addr", f"redis://{LOOPBACK}:{redis_port}",
                "-web.listen-address", f"{LOOPBACK}:{self.port}",
            ],
            name="redis-exporter",
            log_path=directory / "redis-exporter.log",
            is_ready=lambda _process: is_listening(self.port),
        )  # fmt: skip


def job(name: str, *ports: int, **more: object) -> dict[str, Any]:
    """Return a scrape configuration of processes of this machine."""
    targets = [f"{LOOPBACK}:{port}" for port in ports]
    return {"job_name": name, "static_configs": [{"targets": targets}], **more}


def _hastened(rules: Path, folder: Path) -> Path:
    content = yaml.safe_load(rules.read_text(encoding="utf-8"))
    for group in content["groups"]:
        if "interval" in group:
            group["interval"] = f"{RULE_INTERVAL_SECONDS}s"
    made = folder / rules.name
    made.write_text(yaml.safe_dump(content), encoding="utf-8")
    return made
