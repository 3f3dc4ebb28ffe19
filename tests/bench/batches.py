"""One ingest process that takes batches over HTTP: acknowledged lines a second, CPU a line, and views beside them.

Two connections send bodies of 10,000 lines, half with an id of their own, times as ISO 8601, one body after the other's answer; a
third sends single views one at a time, whose latency shows how long a body holds up others. A line counts when its batch was
acknowledged: after acks=all, after the fsync. Client and broker share the processors, so CPU time of the process stands beside.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from statistics import quantiles

from tests.support.bench import Bench
from tests.support.kafka import KafkaCluster
from tests.support.ports import LOOPBACK
from tests.support.process import ProcessError
from tests.support.redis import RedisServer
from tests.support.usage import usage
from tests.support.visit_counter import Service, write_config

LINES = 10_000
CONNECTIONS = 2
TOKEN = "a-token-for-measuring"
SITE = {
    "portal": {"tokens": ["sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()]},
    "beside": {},
}
ZONE = timezone(timedelta(hours=7))
TIMEOUT_SECONDS = 30


def run(bench: Bench) -> None:
    """Measure both logs in turn, round by round."""
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster(bench.directory / "kafka"))
        redis = stack.enter_context(RedisServer(bench.directory / "redis"))
        file = f"sqlite:{bench.directory}/alone.db"
        services = {
            "Kafka acks=all": _start(
                stack, bench.directory, kafka.url("page-views"), redis.url, "kafka"
            ),
            "SQLite fsynced": _start(stack, bench.directory, file, file, "sqlite"),
        }
        for _ in bench.rounds():
            for setup, service in services.items():
                _measure(bench, service, setup)


def _start(stack: ExitStack, directory: Path, log_url: str, store_url: str, name: str) -> Service:
    config = write_config(
        directory / f"{name}.toml",
        log_url,
        store_url,
        SITE,
        server={"rate_limit_per_second": 0},
    )
    return stack.enter_context(Service("ingest", config, directory=directory, name=name))


def _measure(bench: Bench, service: Service, setup: str) -> None:
    """Send for a while; compare what was answered with what the service says it acknowledged."""
    body = make_body()
    latencies_ms: list[float] = []
    taken = [0] * CONNECTIONS
    until = time.monotonic() + bench.seconds
    acknowledged = service.metric("visit_counter_site_views_total", site="portal")
    before, began = usage(service.pid), time.monotonic()
    threads = [
        threading.Thread(target=_send_batches, args=(service, body, until, taken, number))
        for number in range(CONNECTIONS)
    ]
    threads.append(threading.Thread(target=_send_views, args=(service, until, latencies_ms)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    after = usage(service.pid)
    lines = service.metric("visit_counter_site_views_total", site="portal") - acknowledged
    if lines != sum(taken) or not lines:
        raise ProcessError(f"{sum(taken)} lines answered, {lines:.0f} acknowledged")
    cpu_seconds = after.cpu_seconds - before.cpu_seconds
    bench.record("acknowledged lines", lines / seconds, "/s", setup=setup, at_least=100_000.0)
    bench.record("CPU a line", cpu_seconds / lines * 1e6, "µs", setup=setup)
    bench.record("lines a CPU-second", lines / cpu_seconds, "/s", setup=setup)
    cuts = quantiles(latencies_ms, n=100)
    bench.record("a view beside them, median", cuts[49], "ms", setup=setup)
    bench.record("a view beside them, p99", cuts[98], "ms", setup=setup)
    bench.record("memory", after.resident_bytes / 1e6, "MB", setup=setup)


def make_body() -> bytes:
    """Return 10,000 lines of the last hour."""
    now = datetime.now(UTC)
    lines = []
    for number in range(LINES):
        at = (now - timedelta(milliseconds=300 * number)).astimezone(ZONE)
        line = {
            "at": at.isoformat(timespec="milliseconds"),
            "visitor": f"reader-{number % 3_000:016d}",
            "page": f"/tin-tuc/bai-{number % 500}",
        }
        lines.append(json.dumps(line | ({"id": f"line-{number:012d}"} if number % 2 else {})))
    return "\n".join(lines).encode()


def _send_batches(
    service: Service, body: bytes, until: float, taken: list[int], number: int
) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, service.port, timeout=TIMEOUT_SECONDS)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    while time.monotonic() < until:
        connection.request("POST", "/v1/batches", body, headers)
        with connection.getresponse() as response:
            answer = json.loads(response.read())
        if response.status == 202:
            taken[number] += answer["accepted"] + answer["duplicates"]
    connection.close()


def _send_views(service: Service, until: float, latencies_ms: list[float]) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, service.port, timeout=TIMEOUT_SECONDS)
    body = json.dumps({"site": "beside", "page": "/"})
    headers = {"User-Agent": "Mozilla/5.0 Firefox/130.0"}
    while time.monotonic() < until:
        began = time.monotonic()
        connection.request("POST", "/v1/views", body, headers)
        with connection.getresponse() as response:
            response.read()
        latencies_ms.append((time.monotonic() - began) * 1000)
    connection.close()
