"""The whole production set-up for benchmarks: Kafka, Redis, and one ingest, aggregator and api process each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cli.option import configuration
from services.runtime.backend import make_backends
from services.runtime.opening import new_id
from tests.support.kafka import KafkaCluster
from tests.support.process import ProcessError, http_get
from tests.support.redis import RedisServer
from tests.support.visit_counter import Service, write_config
from visits.codec import encode_record
from visits.counters import DAY_MS, HOUR_MS, Metric
from visits.partition import partition_of
from visits.record import VERSION, Delta, Span

COUNTED_WITHIN_SECONDS = 60.0


@dataclass(frozen=True)
class Portal:
    """Running services of one configuration."""

    config: Path
    redis: RedisServer
    ingest: Service
    aggregator: Service
    api: Service


@contextmanager
def open_portal(directory: Path, sites: Sequence[str], days: int, pages: int) -> Iterator[Portal]:
    """Start everything and carry a history into every site.

    Args:
        directory: for all data and logs.
        sites: their ids.
        days: how many days of hourly numbers each has, in every metric.
        pages: how many pages the first one has.
    """
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster(directory / "kafka"))
        redis = stack.enter_context(RedisServer(directory / "redis"))
        config = write_config(
            directory / "visit-counter.toml",
            kafka.url("page-views"),
            redis.url,
            {site: {} for site in sites},
            server={"trusted_proxies": ["127.0.0.1/32"]},
        )
        ingest, aggregator = (
            stack.enter_context(Service(command, config, directory=directory))
            for command in ("ingest", "aggregator")
        )
        asyncio.run(_carry_over(config, sites, days, pages))
        api = stack.enter_context(Service("api", config, directory=directory))
        for site in sites:
            _wait_counted(api, site)
        yield Portal(config, redis, ingest, aggregator, api)


async def _carry_over(config: Path, sites: Sequence[str], days: int, pages: int) -> None:
    """Write one delta a site and metric into the log."""
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    now = time.time_ns() // 1_000_000
    end = now // HOUR_MS * HOUR_MS
    try:
        for site in sites:
            partition = partition_of(site, backends.log.partitions)
            deltas = [
                Delta(
                    v=VERSION,
                    site=site,
                    id=new_id(),
                    at=now,
                    received=now,
                    metric=metric,
                    spans=(Span(days * 1_000, end - days * DAY_MS, end),),
                    pages={f"/tin-tuc/bai-{n}": n + 1 for n in range(pages)}
                    if site == sites[0] and metric is Metric.VIEWS
                    else {},
                    evidence="benchmark",
                )
                for metric in Metric
            ]
            for delta in deltas:
                await backends.log.append(partition, [(site.encode(), encode_record(delta))])
    finally:
        await backends.close()


def _wait_counted(api: Service, site: str) -> None:
    """Wait until a site's three deltas are counted.

    Raises:
        ProcessError: they are not.
    """
    until = time.monotonic() + COUNTED_WITHIN_SECONDS
    while time.monotonic() < until:
        status, body = http_get(f"{api.base_url}/v1/sites/{site}/ledger")
        if status == 200 and body.count(b'"applied"') == len(Metric):
            return
        time.sleep(0.2)
    raise ProcessError(f"{site}: the history is not counted")
