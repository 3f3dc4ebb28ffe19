"""A part is away, killed or hung: refused in time or taken all the same, well by itself afterwards, exact in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest

from services.cli.option import configuration
from services.ingest.batcher import WAITERS_MAX
from services.runtime.backend import Backends, make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.load import Outcome, draw_visits, send
from tests.support.outage import Seen, get, watch
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.truth import check_acknowledged, compare, kafka_values, wait_counted
from tests.support.visit_counter import Service, write_config

PARTITIONS = 4
SITES: dict[str, dict[str, object]] = {"thanhxuan": {}, "caugiay": {}, "hadong": {}}
SITE = "thanhxuan"
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
RATE = 100.0
CALM_SECONDS = 2.0
"""How long the load runs before and after a part is away."""

ANSWER_SECONDS_MAX = 5.0
"""A bound far above the deadline of 2 s, which tells a refusal from a request that hangs."""

STOP_SECONDS_MAX = 15.0
"""A bound above the 10 s that a stop may take."""

MEMORY_BYTES_MAX = 256 * 2**20
"""Ingest begins with about 75 MiB."""


@dataclass
class Stack:
    """The three services on Kafka and Redis."""

    config: Path
    ingest: Service
    aggregator: Service
    api: Service
    kafka: KafkaCluster
    redis: RedisServer
    topic: str

    @property
    def counters_url(self) -> str:
        """Where the api tells a site's views."""
        return f"{self.api.base_url}/v1/sites/{SITE}/counters?metric=views"

    @property
    def urls(self) -> tuple[str, str]:
        """What is read while a part is away."""
        return self.counters_url, self.pages_url

    @property
    def pages_url(self) -> str:
        """Where the api tells the views of a page, which nobody keeps a last good answer of."""
        return f"{self.api.base_url}/v1/sites/{SITE}/pages?page=/watched"


@pytest.fixture
def stack(
    tmp_path: Path,
    start_service: StartService,
    kafka_own: KafkaCluster,
    redis_own: RedisServer,
    topic: str,
) -> Stack:
    config = write_config(
        tmp_path / "visit-counter.toml",
        kafka_own.url(topic),
        redis_own.url,
        SITES,
        server=SERVER,
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )
    ingest, aggregator, api = (start_service(n, config) for n in ("ingest", "aggregator", "api"))
    return Stack(config, ingest, aggregator, api, kafka_own, redis_own, topic)


async def nothing() -> None:
    """Do nothing more while a part is away."""


async def under_load(
    stack: Stack,
    away: Process,
    how: str,
    seconds: float,
    meanwhile: Callable[[], Awaitable[None]] = nothing,
) -> tuple[Seen, Outcome]:
    """Take a part away for a while under load and bring it back; return what was seen meanwhile, and the load's outcome."""
    visits = draw_visits(4, round(RATE * (seconds + 2 * CALM_SECONDS)), list(SITES))
    load = asyncio.create_task(send(stack.ingest.base_url, visits, RATE))
    await asyncio.sleep(CALM_SECONDS)
    assert (await get(stack.counters_url)).status == HTTPStatus.OK
    (away.kill if how == "killed" else away.pause)()
    seen, _ = await asyncio.gather(
        watch(stack.ingest, SITE, seconds, name="watched", urls=stack.urls),
        meanwhile(),
    )
    if how == "killed":
        await asyncio.to_thread(away.start)
    else:
        away.resume()
    outcome = await load
    print(f"{away.name} {how} for {seconds:g} s: {seen.told()}")
    seen.join(outcome)
    return seen, outcome


@asynccontextmanager
async def opened(config: Path) -> AsyncIterator[Backends]:
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        yield backends
    finally:
        await backends.close()


async def check_exact(stack: Stack, outcome: Outcome) -> None:
    """Stop ingest, so that its last tallies are in the log, wait until everything is counted, and hold it against the oracle."""
    await asyncio.to_thread(stack.ingest.terminate)
    async with opened(stack.config) as backends:
        logs = {
            partition: await kafka_values(stack.kafka.bootstrap, stack.topic, partition)
            for partition in range(PARTITIONS)
        }
        await wait_counted(backends, {partition: len(log) for partition, log in logs.items()})
        check_acknowledged(outcome, await compare(backends, logs))


def check_bounded(seen: Seen) -> None:
    """Every request was answered soon, and nothing has piled up."""
    assert all(0 < answer.seconds < ANSWER_SECONDS_MAX for answer in seen.posts.values())
    assert set(seen.livez) == {HTTPStatus.OK}
    assert max(seen.waiting) <= WAITERS_MAX
    assert max(seen.resident_bytes) < MEMORY_BYTES_MAX


@pytest.mark.parametrize(
    ("how", "seconds"), [("hung", 12.0), pytest.param("killed", 60.0, marks=pytest.mark.load)]
)
async def test_a_broker_away_is_503_in_time_and_mends_itself(
    how: str, seconds: float, stack: Stack
) -> None:
    """Nothing hangs, nothing piles up, the process lives and is not ready; then views are taken again, each counted once."""
    seen, outcome = await under_load(stack, stack.kafka.nodes[0], how, seconds)
    check_bounded(seen)
    assert seen.statuses.keys() <= {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.ACCEPTED}
    refused = [a for a in seen.posts.values() if a.status == HTTPStatus.SERVICE_UNAVAILABLE]
    assert len(refused) >= len(seen.posts) - 2
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(a.body is not None and a.body["reason"] == "unavailable" for a in refused)
    assert seen.readyz[HTTPStatus.SERVICE_UNAVAILABLE] > 0
    for url in stack.urls:
        assert {answer.status for answer in seen.readings[url]} == {HTTPStatus.OK}
    last = seen.readings[stack.counters_url][-1].body
    assert last is not None
    assert last["stale"], "nobody can know that all is counted while the log is silent"
    assert not outcome.unknown - seen.posts.keys()
    await check_exact(stack, outcome)


async def test_an_api_starts_without_the_broker(stack: Stack, start_service: StartService) -> None:
    """Who only reads numbers needs the store alone."""
    async with opened(stack.config) as backends:
        await wait_counted(backends, dict.fromkeys(range(PARTITIONS), 0))
    stack.kafka.kill()
    fresh = start_service("api", stack.config)
    assert (await get(f"{fresh.base_url}/v1/sites/{SITE}/counters")).status == HTTPStatus.OK


async def check_new_api_is_starting(api: Service) -> None:
    """A process that never read the numbers says so, alive and not ready: never a 0."""
    api.start(wait=False)
    url = f"{api.base_url}/v1/sites/{SITE}/counters"
    while (first := await get(url)).status == 0:
        assert api.is_running
        await asyncio.sleep(0.1)
    assert first.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert first.body is not None
    assert first.body["reason"] == "starting"
    assert (await get(f"{api.base_url}/livez")).status == HTTPStatus.OK
    assert (await get(f"{api.base_url}/readyz")).status == HTTPStatus.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_redis_away_stops_no_view_and_the_last_good_numbers_stand(
    how: str, stack: Stack
) -> None:
    """Ingest knows its salts; the api answers what it last read, marked stale, and a new one 503; then all is exact."""
    fresh = Service("api", stack.config, directory=stack.config.parent)
    try:
        seen, outcome = await under_load(
            stack, stack.redis, how, 8.0, lambda: check_new_api_is_starting(fresh)
        )
        await asyncio.to_thread(fresh.wait_ready)
    finally:
        fresh.kill()
    check_bounded(seen)
    assert seen.statuses.keys() == {HTTPStatus.ACCEPTED}
    assert seen.readyz.keys() == {HTTPStatus.OK}
    numbers, pages = (seen.readings[url] for url in stack.urls)
    assert {answer.status for answer in numbers} == {HTTPStatus.OK}
    assert {answer.status for answer in pages} <= {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
    assert all(answer.seconds < ANSWER_SECONDS_MAX for answer in (*numbers, *pages))
    bodies = [answer.body for answer in numbers if answer.body is not None]
    assert len(bodies) == len(numbers)
    assert sum(body["stale"] for body in bodies) >= len(bodies) - 2
    assert len({body["total"] for body in bodies if body["stale"]}) == 1
    assert not outcome.unknown
    await check_exact(stack, outcome)
    last = await get(stack.counters_url)
    assert last.body is not None
    assert not last.body["stale"]


async def test_services_stop_in_time_while_broker_and_redis_hang(stack: Stack) -> None:
    """SIGTERM is no request to wait for ever for who does not answer."""
    stack.kafka.pause()
    stack.redis.pause()
    await watch(stack.ingest, SITE, 3.0, name="watched", urls=stack.urls)

    async def stop(service: Service) -> float:
        began = time.monotonic()
        await asyncio.to_thread(service.terminate, STOP_SECONDS_MAX)
        return time.monotonic() - began

    services = (stack.ingest, stack.aggregator, stack.api)
    seconds = await asyncio.gather(*(stop(service) for service in services))
    print("stopped after " + ", ".join(f"{s:.1f} s" for s in seconds))
    # Each closed what it held and returned; none was ended by the signal.
    assert [service.exit_code for service in services] == [0, 0, 0]
