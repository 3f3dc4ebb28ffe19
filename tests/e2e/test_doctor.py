"""The doctor names the hop at fault: on a whole system behind nginx, broken in one place after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.process import http_get, wait_until
from tests.support.redis import RedisServer
from tests.support.visit_counter import REPOSITORY, Service, write_config

SITE = "portal"
TOKEN = "a-token-of-the-site"
COMMAND_SECONDS = 60
WAIT = "3"
HOPS = ["gateway", "ingest", "log", "aggregator", "store", "api"]


@dataclass
class System:
    """Everything that counts, and nginx before it."""

    config: Path
    kafka: KafkaCluster
    redis: RedisServer
    ingest: Service
    untrusting: Service
    aggregator: Service
    api: Service
    gateway: Nginx

    def doctor(self, way: str | None, *, config: Path | None = None) -> dict[str, Any]:
        """Run the command on one way in, and check that status and report agree."""
        urls = [] if way is None else ["--url", self.gateway.url(way)]
        done = run_doctor("--config", str(config or self.config), *urls, "--wait", WAIT, "--json")
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if report["ok"] else 1)
        assert [hop["hop"] for hop in report["hops"]] == HOPS
        return report

    def counters(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            http_get(f"{self.api.base_url}/v1/sites/{SITE}/counters")[1]
        )
        return found


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("doctor")
    with (
        KafkaCluster(folder / "kafka") as kafka,
        RedisServer(folder / "redis") as redis,
    ):
        services = _services(folder, kafka, redis)
        servers = _gateways(services["ingest"], services["untrusting"], services["api"])
        try:
            for service in services.values():
                service.start(wait=False)
            for service in services.values():
                service.wait_ready()
            with Nginx(folder / "nginx", servers) as gateway:
                yield System(
                    config=folder / "visit-counter.toml",
                    kafka=kafka,
                    redis=redis,
                    gateway=gateway,
                    **services,
                )
        finally:
            for service in services.values():
                service.kill()


def _services(folder: Path, kafka: KafkaCluster, redis: RedisServer) -> dict[str, Service]:
    sites = {SITE: {"tokens": ["sha256:" + sha256(TOKEN.encode()).hexdigest()]}}
    address = (kafka.url("page-views"), redis.url, sites)
    trusting = write_config(
        folder / "visit-counter.toml",
        *address,
        server={"trusted_proxies": ["127.0.0.1/32"]},
        log={"partitions": 4},
    )
    strict = write_config(folder / "untrusting.toml", *address, log={"partitions": 4})
    return {
        "ingest": Service("ingest", trusting, directory=folder),
        "untrusting": Service("ingest", strict, directory=folder),
        "aggregator": Service("aggregator", trusting, directory=folder),
        "api": Service("api", trusting, directory=folder),
    }


def _gateways(ingest: Service, untrusting: Service, api: Service) -> dict[str, str]:
    """Return nginx's server blocks: a good one, and one a mistake."""
    forward = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    numbers = f"location /v1/sites/ {{ proxy_pass {api.base_url}; }}"
    views = f"location = /v1/views {{ {forward} proxy_pass {ingest.base_url}; }}"
    dead = f"http://127.0.0.1:{free_port()}"
    return {
        "good": views + numbers,
        "untrusted": f"location /v1/views {{ {forward} proxy_pass {untrusting.base_url}; }}"
        + numbers,
        "cutting": f"location /v1/ {{ {forward} proxy_pass {ingest.base_url}/; }}",
        "deaf": views + f"location /v1/sites/ {{ proxy_pass {api.base_url}$uri; }}",
        "no_ingest": f"location /v1/views {{ proxy_pass {dead}; }}" + numbers,
    }


def run_doctor(*arguments: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", "doctor", "--site", SITE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def found(report: dict[str, Any], hop: str) -> dict[str, Any]:
    return next(finding for finding in report["hops"] if finding["hop"] == hop)


def test_a_whole_way_is_walked_and_counts_nothing(system: System) -> None:
    """Every hop is ok and has a time, and no number moves."""
    report = system.doctor("good")
    assert report["ok"], report
    assert [hop["state"] for hop in report["hops"]] == ["ok"] * 6
    assert all(hop["seconds"] > 0 for hop in report["hops"])
    assert not [note for note in report["notes"] if "brings no event" in note]
    numbers = system.counters()
    for name in ("online", "today", "week", "month", "year", "total"):
        assert numbers[name] == 0
    assert system.ingest.metric("visit_counter_received_total") == 0


def test_services_named_one_by_one_are_a_way_too(system: System) -> None:
    """Several --url: each part of the way is found where it is served; no gateway, no trouble."""
    urls = [part for url in (system.api, system.ingest) for part in ("--url", url.base_url)]
    done = run_doctor("--config", str(system.config), *urls)
    assert done.returncode == 0, done.stdout
    assert "none between" in done.stdout


def test_a_token_does_without_a_configuration(system: System, tmp_path: Path) -> None:
    """From a machine that knows neither log nor store: what ingest and api say is enough; without the token it is refused."""
    url = ("--url", system.gateway.url("good"))
    done = run_doctor(*url, "--token", TOKEN, "--json", folder=tmp_path)
    report = json.loads(done.stdout)
    assert report["ok"], report
    assert [hop["state"] for hop in report["hops"]] == ["ok"] * 6
    refused = run_doctor(*url, "--token", "another", "--json", folder=tmp_path)
    assert json.loads(refused.stdout)["broken"] == ["ingest"]


def test_without_a_way_in_the_log_is_where_the_probe_begins(system: System) -> None:
    """Log, aggregator and store are looked at; the rest is said not to be."""
    report = system.doctor(None)
    assert report["ok"]
    states = {hop["hop"]: hop["state"] for hop in report["hops"]}
    assert states == dict.fromkeys(HOPS, "unknown") | dict.fromkeys(
        ("log", "aggregator", "store"), "ok"
    )


@pytest.mark.parametrize(
    ("way", "hop", "words", "mend"),
    [
        (
            "untrusted",
            "gateway",
            "is not trusted",
            'add "127.0.0.1/32" to server.trusted_proxies',
        ),
        ("cutting", "gateway", "POST /v1/views arrives under another path", "proxy_pass"),
        ("deaf", "gateway", "arrives without its query", "$request_uri"),
        ("no_ingest", "ingest", "cannot reach ingest", "visit-counter ingest"),
    ],
)
def test_a_mistake_of_the_gateway(
    system: System, way: str, hop: str, words: str, mend: str
) -> None:
    """A proxy that is not trusted, a path that is cut, a service that is not reached: that hop is named, and no other."""
    report = system.doctor(way)
    assert report["broken"] == [hop]
    assert words in found(report, hop)["what"]
    assert mend in found(report, hop)["mend"]


def test_the_aggregator_stopped(system: System) -> None:
    """The log has the probe and nobody counts it: the aggregator, whichever way the probe came."""
    system.aggregator.terminate()
    try:
        assert system.doctor("good")["broken"] == ["aggregator"]
    finally:
        system.aggregator.start()


def test_redis_read_only(system: System) -> None:
    """A demoted primary reads on and takes nothing: the store, and not the aggregator that waits for it."""
    with system.redis.client() as client:
        client.replicaof("127.0.0.1", free_port())
        try:
            report = system.doctor("good")
        finally:
            client.replicaof("NO", "ONE")
    assert report["broken"] == ["store"]
    assert "read only" in found(report, "store")["what"]
    wait_until(lambda: system.doctor("good")["ok"], timeout_seconds=30, what="a whole way again")


def test_the_broker_away(system: System) -> None:
    """Ingest is there and its log is not: the log."""
    system.kafka.kill()
    try:
        report = system.doctor("good")
        assert report["broken"] == ["log"]
        assert report["position"] is None
    finally:
        system.kafka.start()


def test_an_embedded_portal(tmp_path: Path, start_service: StartService) -> None:
    """One file: all is well while it is served; then that nobody counts is said, and a file that is not there is not made."""
    file = tmp_path / "visit-counter.db"
    config = write_config(
        tmp_path / "visit-counter.toml", f"sqlite:{file}", f"sqlite:{file}", {SITE: {}}
    )
    missing = json.loads(run_doctor("--config", str(config), "--json").stdout)
    assert missing["broken"] == ["log"]
    assert not file.exists()
    service = start_service("up", config)
    served = run_doctor("--config", str(config), "--url", service.base_url, "--json")
    assert json.loads(served.stdout)["ok"], served.stdout
    service.terminate()
    stopped = run_doctor("--config", str(config))
    assert stopped.returncode == 1
    assert "start `visit-counter up`" in stopped.stdout
