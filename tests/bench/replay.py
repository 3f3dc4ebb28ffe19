"""A log counted from its beginning by a real aggregator, from a real Kafka into Redis: time, memory, CPU.

100,000 records for each second asked for: `make bench ARGS="replay --seconds 100 --rounds 1"` counts 10,000,000. 100 sites with 1,000
pages each, 16 partitions. Memory is looked at every half second; growth is from a fifth of the way to the end.
"""

from __future__ import annotations

import time
from pathlib import Path

import uvloop

from services.backends.kafka import KafkaLog
from services.backends.port import BATCH_RECORDS_MAX
from tests.support.bench import Bench
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.usage import usage
from tests.support.visit_counter import Service, write_config
from tests.support.workload import Workload
from visits.partition import partition_of

PARTITIONS = 16
RECORDS_A_SECOND = 100_000
SITES, PAGES = 100, 1_000
LOOK_SECONDS = 0.5
SETTLED = 0.2
"""The part of the way after which memory is expected to stand still."""


def run(bench: Bench) -> None:
    """Write the log once, count it once a round into an empty store."""
    records = round(bench.seconds * RECORDS_A_SECOND)
    with KafkaCluster(bench.directory / "kafka") as kafka:
        uvloop.run(write(kafka, records))
        for number in bench.rounds():
            with RedisServer(bench.directory / f"redis-{number}") as redis:
                _replay(bench, kafka, redis, records)


async def write(kafka: KafkaCluster, records: int) -> None:
    """Put the records into the topic, as large batches."""
    log = await KafkaLog(kafka.bootstrap, "page-views", partitions=PARTITIONS).open()
    workload = Workload(SITES, PAGES)
    waiting: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTITIONS)]
    for site, value in workload.draw(records):
        held = waiting[partition_of(site, PARTITIONS)]
        held.append((site.encode(), value))
        if len(held) == BATCH_RECORDS_MAX // 2:
            await log.append(partition_of(site, PARTITIONS), held)
            held.clear()
    for partition, held in enumerate(waiting):
        if held:
            await log.append(partition, held)
    await log.close()


def _replay(bench: Bench, kafka: KafkaCluster, redis: RedisServer, records: int) -> None:
    directory = Path(bench.directory)
    config = write_config(
        directory / "replay.toml", kafka.url("page-views"), redis.url, {"site-0000": {}}
    )
    setup = f"{records:,} records, {SITES} sites"
    began = time.monotonic()
    with Service("aggregator", config, directory=directory, name="replay") as aggregator:
        seen: list[tuple[int, int]] = []
        while not seen or seen[-1][0] < records:
            time.sleep(LOOK_SECONDS)
            counted = int(aggregator.metric("visit_counter_applied_total", outcome="applied"))
            seen.append((counted, usage(aggregator.pid).resident_bytes))
        seconds = time.monotonic() - began
        used, redis_used = usage(aggregator.pid), usage(redis.pid)
    early = next(resident for counted, resident in seen if counted >= SETTLED * records)
    bench.record("time to count all", seconds, "s", setup=setup)
    bench.record("records counted", records / seconds, "/s", setup=setup)
    bench.record("memory, highest", used.resident_bytes_max / 1e6, "MB", setup=setup)
    growth = max(resident for _, resident in seen) - early
    bench.record("memory, growth", growth / 1e6, "MB", setup=setup)
    bench.record("CPU a record, aggregator", used.cpu_seconds / records * 1e6, "µs", setup=setup)
    bench.record("CPU a record, Redis", redis_used.cpu_seconds / records * 1e6, "µs", setup=setup)
