"""One aggregator process on Redis: events a second, and the CPU time of both, at few and many sites, pages and days.

The aggregator's own loop reads a log in memory (16 partitions, records as they stand in Kafka) that is far ahead of it, so every
figure is one of catching up: fetch, decode, read the state, fold, apply. Redis has its append-only file on, and 100,000 readers of the
days before. A site lies in one partition, so one site is one partition at work. What Kafka's client takes comes on top: `replay` has it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import NamedTuple

import redis
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from services.aggregator.loop import Aggregator
from services.aggregator.metrics import AggregatorMetrics
from services.backends.memory import MemoryLog
from services.backends.redis import RedisStore
from services.backends.redis_key import Keys
from services.runtime.application import fit_interpreter
from services.runtime.health import Health
from tests.support.bench import Bench
from tests.support.redis import RedisServer
from tests.support.usage import usage
from tests.support.workload import START, Workload
from visits.counters import DAY_MS
from visits.partition import partition_of
from visits.state import Parameters

PARTITIONS = 16
EVENTS_A_SECOND = 40_000
"""How many events are counted for each second a measurement is to take: about a third of what is promised."""

PROMISED = 130_000

HISTORY = """
local days, first, readers = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for day = first - days, first - 1 do
  local fields = {}
  for _, metric in ipairs({ 'v', 's', 'p' }) do
    fields[#fields + 1] = metric .. 'd' .. day
    fields[#fields + 1] = 1200
    for hour = 0, 23 do
      fields[#fields + 1] = metric .. 'b' .. (day * 24 + hour)
      fields[#fields + 1] = 50
    end
  end
  redis.call('HSET', KEYS[1], unpack(fields))
end
for reader = 1, readers do
  local member = struct.pack('>I4I4', math.random(0, 2147483647), math.random(0, 2147483647))
  redis.call('HSET', KEYS[2], member, struct.pack('>I6', (first - 1) * 86400000 + reader))
end
"""
"""Gives a site days of history, by hour and by day, and the readers of the days before."""

READERS_BEFORE = 100_000
"""Of all sites together."""

COMMANDS = ("hmget", "hset", "hdel", "zadd")
"""Of what Redis does within a script, what takes longest."""


class Size(NamedTuple):
    """How much there is."""

    sites: int
    pages: int
    days: int

    def __str__(self) -> str:
        """Say it as the set-up of a figure."""
        return f"sites {self.sites:,}, pages {self.pages:,}, days {self.days}"


SIZES = (
    Size(1, 10, 10),
    Size(1, 100_000, 10),
    Size(1, 100_000, 400),
    Size(1_000, 10_000, 10),
    Size(1_000, 100_000, 10),
    Size(1_000, 100_000, 400),
)


def run(bench: Bench) -> None:
    """Measure every size in turn, round by round."""
    # What the aggregator says of its starts is not of interest here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    uvloop.run(_run(bench))


async def _run(bench: Bench) -> None:
    with ExitStack() as stack:
        running = [
            await Counted.start(
                size,
                stack.enter_context(RedisServer(bench.directory / f"redis-{number}")),
            )
            for number, size in enumerate(SIZES)
        ]
        count = round(bench.seconds * EVENTS_A_SECOND)
        for each in running:
            await each.count(count)
        fit_interpreter()
        for _ in bench.rounds():
            for each in running:
                await each.measure(bench, count)
        for each in running:
            await each.close()


class Counted:
    """A log and a store of one size."""

    def __init__(self, size: Size, server: RedisServer, store: RedisStore) -> None:
        """Take an opened store."""
        self._size = size
        self._server = server
        self._store = store
        self._log = MemoryLog(PARTITIONS)
        self._workload = Workload(size.sites, max(1, size.pages // size.sites))

    @classmethod
    async def start(cls, size: Size, server: RedisServer) -> Counted:
        """Start with the history in the store."""
        store = await RedisStore(server.url).open()
        counted = cls(size, server, store)
        await counted.count(PARTITIONS * 100)
        with server.client() as client:
            for site in counted._workload.sites:
                keys = Keys(partition_of(site, PARTITIONS), 1)
                readers = READERS_BEFORE // size.sites
                client.eval(
                    HISTORY, 2, keys.counters(site), keys.seen(site).second, str(size.days),
                    str(START // DAY_MS), str(readers),
                )  # fmt: skip
            _rewrite(client)
        return counted

    async def count(self, count: int) -> None:
        """Write views into the log and wait until they are counted."""
        await self._append(self._draw(count))
        await self._catch_up()

    async def measure(self, bench: Bench, count: int) -> None:
        """Count views that are all there already."""
        await self._append(self._draw(count))
        with self._server.client() as client:
            client.config_resetstat()
        seconds, cpu_seconds, redis_cpu_seconds = await self._catch_up()
        setup = str(self._size)
        bench.record("events counted", count / seconds, "/s", setup=setup, at_least=PROMISED)
        bench.record("CPU an event, aggregator", cpu_seconds / count * 1e6, "µs", setup=setup)
        bench.record("CPU an event, Redis", redis_cpu_seconds / count * 1e6, "µs", setup=setup)
        for name, in_redis_us in self._scripts().items():
            bench.record(f"time an event in Redis, {name}", in_redis_us / count, "µs", setup=setup)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    def _scripts(self) -> dict[str, float]:
        """Return how long Redis was in scripts since the statistics were reset, in microseconds, by what it did there."""
        with self._server.client() as client:
            found: dict[str, dict[str, float]] = client.info("commandstats")
        taken = {name.removeprefix("cmdstat_"): each["usec"] for name, each in found.items()}
        commands = {name.upper(): taken.get(name, 0.0) for name in COMMANDS}
        others = sum(taken.values()) - taken["evalsha"] - sum(commands.values())
        lua = taken["evalsha"] - sum(commands.values()) - others
        return commands | {"other commands": others, "Lua around them": lua}

    def _draw(self, count: int) -> dict[int, list[tuple[bytes, bytes]]]:
        drawn: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        for site, value in self._workload.draw(count):
            drawn[partition_of(site, PARTITIONS)].append((site.encode(), value))
        return drawn

    async def _append(self, drawn: dict[int, list[tuple[bytes, bytes]]]) -> None:
        for partition, records in drawn.items():
            await self._log.append(partition, records)

    async def _catch_up(self) -> tuple[float, float, float]:
        """Start an aggregator and stop it once all is counted: one at a time, so that no other one stirs meanwhile.

        Returns:
            How long it took, and the CPU time of this process and of Redis, in seconds.

        Raises:
            AssertionError: it ended by itself.
        """
        metrics = AggregatorMetrics(CollectorRegistry())
        aggregator = Aggregator(self._log, self._store, Parameters(), metrics, Health(), 0.1)
        ends = {number: len(held) for number, held in enumerate(self._log.records)}
        redis_cpu = usage(self._server.pid).cpu_seconds
        cpu, began = time.process_time(), time.perf_counter()
        running = asyncio.create_task(aggregator.run())
        while aggregator.positions != ends:
            assert not running.done(), "the aggregator ended"
            await asyncio.sleep(0.002)
        taken = (
            time.perf_counter() - began,
            time.process_time() - cpu,
            usage(self._server.pid).cpu_seconds - redis_cpu,
        )
        aggregator.stop()
        await running
        return taken


def _rewrite(client: redis.Redis) -> None:
    """Let Redis write its append-only file anew now: the history came at once, and its rewrite belongs to no measurement."""
    _until_written(client)
    client.bgrewriteaof()
    _until_written(client)


def _until_written(client: redis.Redis) -> None:
    while True:
        found = client.info("persistence")
        if not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"]:
            return
        time.sleep(0.05)
