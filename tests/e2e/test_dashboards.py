"""Every dashboard on a real Prometheus that asks the running system under load: no panel is empty, no rule fails."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.conftest import StartService
from tests.support.dashboard import Asked, asked
from tests.support.kafka import KafkaCluster
from tests.support.load import draw_visits, send
from tests.support.ports import LOOPBACK, free_port, is_listening
from tests.support.process import http_get
from tests.support.prometheus import Prometheus, RedisExporter, job
from tests.support.redis import RedisServer
from tests.support.visit_counter import Service, write_config

VIEWS_PER_SECOND = 100
SITES = ["a", "b", "c"]
UNTIL_SECONDS = 60.0
"""How long numbers are waited for: the api looks at all sites every 15 s."""

ONLY_EMBEDDED = ("data_bytes", "data_free_bytes", "certificate_not_after_timestamp_seconds")

VARIABLES = {"__rate_interval": "10s", "__range": "1m", "site": ".*"}
"""What Grafana would fill in."""


@asynccontextmanager
async def load(ingest: Service, api: Service) -> AsyncIterator[None]:
    """Let readers come and numbers be read meanwhile."""

    async def read() -> None:
        while True:
            for path in ("counters", "pages/top?window=today"):
                with suppress(OSError):
                    await asyncio.to_thread(http_get, f"{api.base_url}/v1/sites/a/{path}")
            await asyncio.sleep(0.1)

    visits = draw_visits(1, int(VIEWS_PER_SECOND * 2 * UNTIL_SECONDS), SITES)
    tasks = [
        asyncio.create_task(send(ingest.base_url, visits, VIEWS_PER_SECOND)),
        asyncio.create_task(read()),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def start_embedded(folder: Path, start_service: StartService) -> int:
    """Start `up` on a file of its own, with a certificate; return its port."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-days", "30", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    url = f"sqlite:{folder / 'x.db'}"
    config = write_config(folder / "embedded.toml", url, url, {"a": {}})
    port = free_port()
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    start_service("up", config, wait=False, port=port, arguments=tls)
    return port


def empty(prometheus: Prometheus, questions: list[Asked]) -> list[Asked]:
    """Return the expressions that have no number."""
    now = time.time()
    return [
        one
        for one in questions
        if not prometheus.numbers(
            one.filled(VARIABLES), *((now - 20, now) if one.is_range else (None, None))
        )
    ]


async def test_no_panel_is_empty(
    tmp_path: Path, kafka: KafkaCluster, topic: str, start_service: StartService
) -> None:  # fmt: skip
    """Kafka and Redis with the three services, and `up` beside them for what only it has."""
    with RedisServer(tmp_path / "redis", settings={"maxmemory": "512mb"}) as redis_server:
        await watch(tmp_path, kafka.url(topic), redis_server, start_service)


async def watch(
    tmp_path: Path, log_url: str, redis_server: RedisServer, start_service: StartService
) -> None:
    """Start everything, and wait until no expression is without a number."""
    config = write_config(
        tmp_path / "visit-counter.toml",
        log_url,
        redis_server.url,
        {site: {} for site in SITES},
        server={"trusted_proxies": ["127.0.0.0/8"]},
        log={"partitions": 2},
    )
    ingest, aggregator, api = (start_service(c, config) for c in ("ingest", "aggregator", "api"))
    embedded = start_embedded(tmp_path, start_service)
    jobs = [
        *(job(service.command, service.port) for service in (ingest, aggregator, api)),
        job("up", embedded, scheme="https", tls_config={"insecure_skip_verify": True}),
    ]
    with RedisExporter(tmp_path, redis_server.port) as exporter:
        server = Prometheus(tmp_path, [*jobs, job("redis", exporter.port)])
        async with load(ingest, api):
            with server as prometheus:
                questions = list(asked())
                assert len(questions) > 50
                until = time.monotonic() + UNTIL_SECONDS
                while questions := await asyncio.to_thread(empty, prometheus, questions):
                    assert time.monotonic() < until, "\n".join(
                        f"{q.where}: {q.expr}" for q in questions
                    )
                    await asyncio.sleep(1)
                for name in ONLY_EMBEDDED:
                    assert await asyncio.to_thread(prometheus.numbers, f"visit_counter_{name}") == 1
                groups = (await asyncio.to_thread(prometheus.ask, "rules"))["groups"]
                found = [rule for group in groups for rule in group["rules"]]
                assert len(found) > 50
                assert [
                    (rule["name"], rule.get("lastError"))
                    for rule in found
                    if rule["health"] != "ok"
                ] == []
    assert is_listening(embedded, LOOPBACK)
