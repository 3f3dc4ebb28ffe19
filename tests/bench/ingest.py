"""One ingest process over HTTP: acknowledged views a second, latency, CPU a view, memory.

wrk sends views over 64 kept connections, one request at a time on each, every one with an id, a reader (X-Forwarded-For) and a page
of its own, with the headers of a Chromium behind a proxy. A view counts when it was acknowledged: after acks=all, after the fsync.
Kafka is one broker on the same machine, and takes its share of the processors, as the client does; therefore CPU time of the
ingest process stands beside the rate. `up` also counts and serves in the same process.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.support.bench import Bench
from tests.support.kafka import KafkaCluster
from tests.support.process import ProcessError
from tests.support.redis import RedisServer
from tests.support.usage import usage
from tests.support.visit_counter import Service, write_config
from tests.support.wrk import send_views

CONNECTIONS = 64
SITES = [f"site-{number}" for number in range(100)]
WARM_UP_SECONDS = 2.0
SERVER = {"trusted_proxies": ["127.0.0.1/32"]}


def run(bench: Bench) -> None:
    """Measure every pair in turn, round by round."""
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster(bench.directory / "kafka"))
        redis = stack.enter_context(RedisServer(bench.directory / "redis"))
        on_kafka = _start(
            stack, bench.directory, "ingest", kafka.url("page-views"), redis.url, "kafka"
        )
        file = f"sqlite:{bench.directory}/alone.db"
        alone = _start(stack, bench.directory, "ingest", file, file, "sqlite")
        file = f"sqlite:{bench.directory}/up.db"
        up = _start(stack, bench.directory, "up", file, file, "up")
        promised = {"views": 20_000.0, "p99": 12.0, "views_cpu": 26_000.0}
        for service in (on_kafka, alone, up):
            send_views(service.base_url, SITES, WARM_UP_SECONDS, connections=CONNECTIONS)
        for _ in bench.rounds():
            _measure(bench, on_kafka, SITES[:1], "Kafka acks=all, 1 site", promised)
            _measure(bench, on_kafka, SITES, "Kafka acks=all, 100 sites", {})
            _measure(bench, on_kafka, SITES[:1], "Kafka acks=all, few headers", {}, browser=False)
            _measure(bench, alone, SITES[:1], "SQLite fsynced", {"views": 12_000.0})
            _measure(bench, up, SITES[:1], "SQLite fsynced, `up`", {})


def _start(
    stack: ExitStack, directory: Path, command: str, log_url: str, store_url: str, name: str
) -> Service:
    config = write_config(
        directory / f"{name}.toml", log_url, store_url, {site: {} for site in SITES}, server=SERVER
    )
    return stack.enter_context(Service(command, config, directory=directory, name=name))


def _measure(
    bench: Bench,
    service: Service,
    sites: list[str],
    setup: str,
    promised: dict[str, float],
    *,
    browser: bool = True,
) -> None:
    """Send for a while; compare what wrk saw with what the service says it acknowledged."""
    acknowledged = service.metric("visit_counter_acknowledged_total")
    before = usage(service.pid)
    seen = send_views(
        service.base_url,
        sites,
        bench.seconds,
        connections=CONNECTIONS,
        has_browser_headers=browser,
    )
    after = usage(service.pid)
    views = service.metric("visit_counter_acknowledged_total") - acknowledged
    if seen.errors or abs(views - seen.requests) > CONNECTIONS:
        raise ProcessError(
            f"{seen.errors} errors; {seen.requests} answers, {views:.0f} acknowledged"
        )
    cpu_seconds = after.cpu_seconds - before.cpu_seconds
    megabytes = after.resident_bytes / 1e6
    bench.record(
        "acknowledged views",
        views / seen.seconds,
        "/s",
        setup=setup,
        at_least=promised.get("views"),
    )
    bench.record("answered within, median", seen.p50_ms, "ms", setup=setup)
    bench.record(
        "answered within, p99", seen.p99_ms, "ms", setup=setup, at_most=promised.get("p99")
    )
    bench.record(
        "views a CPU-second",
        views / cpu_seconds,
        "/s",
        setup=setup,
        at_least=promised.get("views_cpu"),
    )
    bench.record("CPU a view", cpu_seconds / views * 1e6, "µs", setup=setup)
    bench.record("memory", megabytes, "MB", setup=setup)
