"""From the acknowledgement of a view to the answer of the api that holds it, at 5,000 views a second.

`visit-counter load` sends by a fixed schedule and asks the api with `after=` for 20 of the views a second; so the figure holds one
request there and back. Kafka and Redis with ingest, aggregator and api as three processes, and the embedded pair with `up`; the
generator, the broker and Redis share the processors with them. The books are closed after each run: every view sent was counted.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from services.load.result import Result
from tests.support.bench import Bench
from tests.support.kafka import KafkaCluster
from tests.support.process import ProcessError
from tests.support.redis import RedisServer
from tests.support.usage import usage
from tests.support.visit_counter import REPOSITORY, Service, write_config

RATE = 5_000
SECONDS_MIN = 5
RATE_NOT_REACHED = 2
"""The exit status of `load` that says so."""

SITE = "load-test"
SERVER = {"trusted_proxies": ["127.0.0.1/32"]}


@dataclass(frozen=True)
class Deployment:
    """Services that together take views and tell numbers."""

    name: str
    ingest: Service
    api: Service
    services: tuple[Service, ...]


def run(bench: Bench) -> None:
    """Measure both deployments in turn."""
    with ExitStack() as stack:
        deployments = [_separate(stack, bench.directory), _embedded(stack, bench.directory)]
        for _ in bench.rounds():
            for deployment in deployments:
                _measure(bench, deployment)


def _separate(stack: ExitStack, directory: Path) -> Deployment:
    kafka = stack.enter_context(KafkaCluster(directory / "kafka"))
    redis = stack.enter_context(RedisServer(directory / "redis"))
    config = _config(directory / "kafka.toml", kafka.url("page-views"), redis.url)
    ingest, aggregator, api = (
        stack.enter_context(Service(command, config, directory=directory))
        for command in ("ingest", "aggregator", "api")
    )
    return Deployment("Kafka and Redis, three processes", ingest, api, (ingest, aggregator, api))


def _embedded(stack: ExitStack, directory: Path) -> Deployment:
    file = f"sqlite:{directory}/up.db"
    up = stack.enter_context(
        Service("up", _config(directory / "up.toml", file, file), directory=directory)
    )
    return Deployment("SQLite, `up`", up, up, (up,))


def _config(path: Path, log_url: str, store_url: str) -> Path:
    return write_config(path, log_url, store_url, {SITE: {"test": True}}, server=SERVER)


def _measure(bench: Bench, deployment: Deployment) -> None:
    before = [usage(service.pid).cpu_seconds for service in deployment.services]
    result = _load(deployment, max(SECONDS_MIN, round(bench.seconds)))
    after = [usage(service.pid).cpu_seconds for service in deployment.services]
    setup = f"{deployment.name}, {RATE:,} views/s"
    bench.record("visible within, median", result.visible.p50_ms, "ms", setup=setup, at_most=60)
    bench.record("visible within, p99", result.visible.p99_ms, "ms", setup=setup, at_most=250)
    bench.record("answered within, median", result.latency.p50_ms, "ms", setup=setup)
    bench.record("answered within, p99", result.latency.p99_ms, "ms", setup=setup)
    bench.record("views sent", result.rate.reached, "/s", setup=setup)
    cpu = (sum(after) - sum(before)) / (result.rate.acknowledged * result.asked.seconds) * 1e6
    bench.record("CPU a view, all services", cpu, "µs", setup=setup)


def _load(deployment: Deployment, seconds: int) -> Result:
    """Send by schedule; a rate that was not reached is recorded as it is, books that do not close are an error."""
    command = [sys.executable, "-m", "services.cli", "load", "--url", deployment.ingest.base_url]
    command += ["--api-url", deployment.api.base_url, "--site", SITE, "--json"]
    command += ["--rate", str(RATE), "--duration", f"{seconds}s", "--visitors", "10000"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, timeout=seconds + 90, check=False
    )
    if done.returncode not in {0, RATE_NOT_REACHED}:
        raise ProcessError(f"load ended with {done.returncode}: {done.stdout}{done.stderr}")
    return msgspec.json.decode(done.stdout, type=Result)
