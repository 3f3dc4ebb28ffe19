"""Ten times what the log takes: how soon the excess is refused.

The broker lets its writers send some 500 views a second; 5,000 come by a schedule that waits for nothing. A refusal's time counts from the
moment the view was sent; how late the generator sent, while it opened its connections above all, stands beside it.
"""

from __future__ import annotations

import asyncio
import time

from services.load.schedule import Phase
from tests.support.bench import Bench
from tests.support.kafka import KafkaCluster
from tests.support.overload import QUOTA_BYTES_PER_SECOND, overload
from tests.support.redis import RedisServer
from tests.support.visit_counter import Service, write_config

SITE = "thanhxuan"
RATE = 5_000.0
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}


def run(bench: Bench) -> None:
    """Send too much, round by round."""
    with (
        KafkaCluster(bench.directory / "kafka") as kafka,
        RedisServer(bench.directory / "redis") as redis,
    ):
        kafka.limit_writers(QUOTA_BYTES_PER_SECOND)
        config = write_config(
            bench.directory / "ingest.toml",
            kafka.url("page-views"),
            redis.url,
            {SITE: {}},
            server=SERVER,
            log={"partitions": 1},
        )
        with Service("ingest", config, directory=bench.directory) as ingest:
            for _ in bench.rounds():
                _measure(bench, ingest)


def _measure(bench: Bench, ingest: Service) -> None:
    seconds = max(5.0, bench.seconds)
    answers = asyncio.run(
        overload(ingest, SITE, [Phase(RATE, seconds)], run=f"over{time.time_ns()}")
    )
    setup = f"{RATE:,.0f} views/s at a log that takes some 500"
    refused = sorted(answers.not_taken)
    for name, share in (("median", 0.5), ("p99", 0.99), ("longest", 1.0)):
        bench.record(
            f"refused within, {name}",
            refused[round(share * (len(refused) - 1))],
            "ms",
            setup=setup,
            at_most=50 if name == "p99" else None,
        )
    assert answers.delay is not None
    bench.record("the generator's own delay, p99", answers.delay.p99_ms, "ms", setup=setup)
    bench.record("acknowledged", len(answers.acknowledged) / seconds, "/s", setup=setup)
    bench.record("refused at once", len(refused) / seconds, "/s", setup=setup)
    bench.record("waited in vain", len(answers.given_up) / seconds, "/s", setup=setup)
    bench.record("waiting, at most", max(answers.waiting), "records", setup=setup)
    bench.record("memory, at most", max(answers.resident_bytes) / 1e6, "MB", setup=setup)
