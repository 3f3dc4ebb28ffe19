"""A million distinct invented paths on the default page cap: what they take of memory, with every view counted.

Kafka + Redis, three services. 10,000 paths a site go through ingest, the rest straight into the log as ingest would write them. Totals and
tables are checked exactly, then a true article is viewed on a site with `pages` patterns, and on one without after a `forget-pages`.
The table of event ids (the last hour's, at most 1,000,000 a partition) is the larger part of what a million views of one hour take.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path

from services.backends.redis_key import Keys
from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.support.bench import Bench
from tests.support.invented import OPEN, SERVER, SITES, Invented
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.usage import usage
from tests.support.visit_counter import Service, write_config
from visits.partition import partition_of

PATHS = 1_000_000
BY_HTTP = 10_000
PAGES_MAX = 200_000
PARTITIONS = 4
MEBIBYTE = 1024 * 1024
SETUP = "1,000,000 paths, 200,000 pages, one site"


def run(bench: Bench) -> None:
    """Send once: the figures are sizes, and take minutes."""
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster(bench.directory / "kafka"))
        redis = stack.enter_context(RedisServer(bench.directory / "redis"))
        config = write_config(
            bench.directory / "visit-counter.toml",
            kafka.url("page-views"),
            redis.url,
            SITES,
            server=SERVER,
            log={"partitions": PARTITIONS},
        )
        ingest, aggregator, api = (
            stack.enter_context(Service(command, config, directory=bench.directory))
            for command in ("ingest", "aggregator", "api")
        )
        asyncio.run(_measure(bench, config, redis, ingest, aggregator, api))


async def _measure(
    bench: Bench,
    config: Path,
    redis: RedisServer,
    ingest: Service,
    aggregator: Service,
    api: Service,
) -> None:
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        straight = PATHS - BY_HTTP
        invented = Invented(
            config, backends, ingest.base_url, api.base_url, PAGES_MAX, BY_HTTP, straight
        )
        redis_before = _used_bytes(redis)
        before = {service: usage(service.pid).resident_bytes for service in (ingest, aggregator)}
        began = time.monotonic()
        await invented.send()
        bench.record("sent and counted within", time.monotonic() - began, "s", setup=SETUP)
        await invented.check()
        for service, resident in before.items():
            grown = usage(service.pid).resident_bytes_max - resident
            name = f"{service.command}: most resident memory above that at its start"
            bench.record(name, grown / MEBIBYTE, "MiB", setup=SETUP)
        bench.record("Redis before", redis_before / MEBIBYTE, "MiB", setup=SETUP)
        grown = _used_bytes(redis) - redis_before
        bench.record("Redis above that", grown / MEBIBYTE, "MiB", setup=SETUP)
        for name, size in _tables(redis, partition_of(OPEN, PARTITIONS)).items():
            bench.record(f"of it {name}", size / MEBIBYTE, "MiB", setup=SETUP)
            if name.startswith("pages"):
                bench.record(f"{name}, each", size / PAGES_MAX, "B", setup=SETUP)
        began = time.monotonic()
        await invented.check_article()
        bench.record(
            "forget-pages and four views within", time.monotonic() - began, "s", setup=SETUP
        )
        bench.record("Redis afterwards", _used_bytes(redis) / MEBIBYTE, "MiB", setup=SETUP)
        peak = usage(aggregator.pid).resident_bytes_max
        bench.record("aggregator: most resident memory in all", peak / MEBIBYTE, "MiB", setup=SETUP)
    finally:
        await backends.close()


def _used_bytes(redis: RedisServer) -> int:
    with redis.client() as client:
        return int(client.info("memory")["used_memory"])


def _tables(redis: RedisServer, partition: int) -> dict[str, int]:
    """Return the bytes of the large tables of the site's partition (MEMORY USAGE, by samples)."""
    keys = Keys(partition, 1)
    patterns = {
        "pages in all": keys.pages(OPEN),
        "pages of the day": f"{keys.prefix}:d:{OPEN}:*",
        "event ids": keys.ids,
        "queue of event ids": keys.id_queue,
    }
    with redis.client() as client:
        return {
            name: sum(
                int(client.memory_usage(key, samples=1_000) or 0)
                for key in client.scan_iter(pattern.replace("{", "?").replace("}", "?"))
            )
            for name, pattern in patterns.items()
        }
