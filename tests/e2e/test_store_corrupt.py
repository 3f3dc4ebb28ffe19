"""Foreign hands in Redis: a key of a wrong type, a number that is none. Each stops one partition by name, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from services.backends.redis_key import META, Keys
from services.cli.option import configuration
from services.runtime.backend import Backends, make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.logs import day_of, view
from tests.support.process import http_get
from tests.support.redis import RedisServer
from tests.support.truth import compare, kafka_values, wait_counted
from tests.support.visit_counter import Service, write_config
from visits.codec import day_number, encode_record
from visits.partition import partition_of
from visits.record import VERSION, Delta

PARTITIONS = 18
WAIT_SECONDS = 60.0
NOW = time.time_ns() // 1_000_000
DAY = day_of(NOW)
"""All views are of one moment and local day: the run may pass midnight."""


def _sites() -> list[str]:
    """Return one site a partition, in the partitions' order."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTITIONS:
        found.setdefault(partition_of(f"site-{number}", PARTITIONS), f"site-{number}")
        number += 1
    return [found[partition] for partition in range(PARTITIONS)]


SITES = _sites()

KINDS = {
    "counters": "vc:{0}:g1:c:", "pages": "vc:{1}:g1:p:", "pages of a day": "vc:{2}:g1:d:", "books": "vc:{3}:g1:b:",
    "ledger": "vc:{4}:g1:l:", "seen": "vc:{5}:g1:s:", "online": "vc:{6}:g1:o:", "ids": "vc:{7}:g1:ids is",
    "queue of ids": "vc:{8}:g1:id-queue is", "days": "vc:{9}:g1:days is", "sites": "vc:{10}:g1:sites is",
    "head": "vc:{11}:g1:head is", "pointer": "vc:{12}:generation is",
}  # fmt: skip
"""How each key that is planted with another type is named to the operator."""

Undo = Callable[[redis.Redis], object]


def retyped(key: str) -> Callable[[redis.Redis], Undo]:
    """Put a text or a list where a key of ours stands; the undo brings the old one back."""

    def plant(client: redis.Redis) -> Undo:
        was_text = client.type(key) == b"string"
        client.rename(key, f"away:{key}")
        if was_text:
            client.rpush(key, "planted")
        else:
            client.set(key, "planted")

        def undo(client: redis.Redis) -> None:
            # Without RENAME's own deletion: so an operator mends it.
            assert client.delete(key)
            client.rename(f"away:{key}", key)

        return undo

    return plant


def overwritten(key: str, field: str, value: str) -> Callable[[redis.Redis], Undo]:
    """Put a value of ours out of shape: a field of a hash, or without one a whole text."""

    def plant(client: redis.Redis) -> Undo:
        if not field:
            text = client.getset(key, value)
            assert text is not None
            return lambda client: client.set(key, text)
        was = client.hget(key, field)
        assert was is not None
        client.hset(key, field, value)
        return lambda client: client.hset(key, field, was)

    return plant


def plants() -> dict[str, Callable[[redis.Redis], Undo]]:
    """Return what is planted in each partition: one kind of key each; the last partition is left alone."""
    keys = [Keys(partition, 1) for partition in range(PARTITIONS)]
    names: list[tuple[str, Callable[[Keys, str], Callable[[redis.Redis], Undo]]]] = [
        ("counters", lambda k, s: retyped(k.counters(s))),
        ("pages", lambda k, s: retyped(k.pages(s))),
        ("pages of a day", lambda k, s: retyped(k.page_day(s, day_number(DAY)))),
        ("books", lambda k, s: retyped(k.books(s))),
        ("ledger", lambda k, s: retyped(k.ledger(s))),
        ("seen", lambda k, s: retyped(k.seen(s).first)),
        ("online", lambda k, s: retyped(k.online(s))),
        ("ids", lambda k, _: retyped(k.ids)),
        ("queue of ids", lambda k, _: retyped(k.id_queue)),
        ("days", lambda k, _: retyped(k.days)),
        ("sites", lambda k, _: retyped(k.sites)),
        ("head", lambda k, _: retyped(k.head)),
        ("pointer", lambda k, _: retyped(k.pointer)),
        ("pointer no number", lambda k, _: overwritten(k.pointer, "", "seven")),
        ("position no number", lambda k, _: overwritten(k.head, "position", "here")),
        ("counter no number", lambda k, s: overwritten(k.counters(s), "v", "many")),
        ("page no number", lambda k, s: overwritten(k.pages(s), "/0", "1e3")),
    ]
    assert len(names) == PARTITIONS - 1
    return {
        name: make(keys[partition], SITES[partition])
        for partition, (name, make) in enumerate(names)
    }


async def write(backends: Backends, round_: int) -> None:
    """Append ten views of every site, and a delta that only stands in the ledger."""
    for partition, site in enumerate(SITES):
        records = [
            encode_record(
                view(
                    NOW,
                    site=site,
                    id=f"{site}-{round_}-{n:04d}",
                    page=f"/{n % 3}",
                    visitor=f"{n:016x}",
                )
            )
            for n in range(10)
        ]
        correction = Delta(
            v=VERSION,
            site=site,
            id=f"delta-{round_:04d}",
            at=NOW,
            received=NOW,
            forget="/nothing/**",
            why="test",
        )
        values = [(site.encode(), value) for value in [*records, encode_record(correction)]]
        await backends.log.append(partition, values)


@pytest.fixture
async def backends(
    tmp_path: Path, kafka: KafkaCluster, redis_own: RedisServer, topic: str
) -> AsyncIterator[Backends]:
    config = write_config(
        tmp_path / "visit-counter.toml",
        kafka.url(topic),
        redis_own.url,
        {site: {"timezone": "Etc/UTC", "metric": "views"} for site in SITES},
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )
    opened = make_backends(configuration(config))
    await opened.open()
    yield opened
    await opened.close()


async def states(service: Service) -> dict[int, str]:
    """Return the state of each partition."""
    samples = await asyncio.to_thread(service.metrics)
    return {
        int(sample.labels["partition"]): sample.labels["state"]
        for sample in samples
        if sample.name == "visit_counter_partition_state" and sample.value
    }


async def until_states(service: Service, wanted: dict[int, str]) -> None:
    """Wait until every partition is in the state that is wanted of it."""
    until = time.monotonic() + WAIT_SECONDS
    while (found := await states(service)) != wanted:
        odd = {p: (found.get(p), state) for p, state in wanted.items() if found.get(p) != state}
        assert time.monotonic() < until, f"(is, should be) {odd}"
        await asyncio.sleep(0.2)


async def total(api: Service, site: str) -> tuple[int, int, bool]:
    """Return status, total and stale as the api answers; a total of -1 where it gives none."""
    status, body = await asyncio.to_thread(http_get, f"{api.base_url}/v1/sites/{site}/counters")
    answer = json.loads(body)
    return status, answer.get("total", -1), answer.get("stale", False)


async def test_a_planted_key_stops_its_partition_and_is_mended_exactly(
    tmp_path: Path, backends: Backends, kafka: KafkaCluster, redis_own: RedisServer, topic: str,
    start_service: StartService,
) -> None:  # fmt: skip
    """One kind of key in each partition: `store_corrupt` there, the other one goes on, readers see the last number or 503."""
    config = tmp_path / "visit-counter.toml"
    aggregator = start_service("aggregator", config)
    api = start_service("api", config)
    await write(backends, 0)
    await wait_counted(backends, dict.fromkeys(range(PARTITIONS), 11))
    running = dict.fromkeys(range(PARTITIONS), "running")
    await until_states(aggregator, running)
    for site in SITES:
        await until_total(api, site, 10)
    undo = {}
    with redis_own.client() as client:
        for name, plant in plants().items():
            undo[name] = plant(client)
        await write(backends, 1)
        corrupt = running | dict.fromkeys(range(PARTITIONS - 1), "store_corrupt")
        await until_states(aggregator, corrupt)
        late = start_service("api", config, name="late-api")
        until = time.monotonic() + WAIT_SECONDS
        for partition, (site, name) in enumerate(zip(SITES, undo, strict=False)):
            while (answer := await total(api, site)) != (200, 10, True):
                assert answer == (200, 10, False), name
                assert time.monotonic() < until, name
                await asyncio.sleep(0.2)
            # Who was not there before has no last good number: a number that still stands, or none.
            assert (await total(late, site))[:2] in {(200, 10), (503, -1)}, name
            pages = f"{late.base_url}/v1/sites/{site}/pages?page=/0"
            status, body = await asyncio.to_thread(http_get, pages)
            assert (status, json.loads(body).get("pages")) in [(200, {"/0": 4}), (503, None)], name
            told = next(
                line
                for line in (await ready(aggregator)).splitlines()
                if line.startswith(f"- partition {partition}:")
            )
            assert "store_corrupt" in told
            # An operator must know which key to mend.
            assert "no number" in name or f" {KINDS[name]}" in told, (name, told)
        await until_total(api, SITES[-1], 20)
        for restore in undo.values():
            restore(client)
    await until_states(aggregator, running)
    logs = {p: await kafka_values(kafka.bootstrap, topic, p) for p in range(PARTITIONS)}
    await wait_counted(backends, dict.fromkeys(range(PARTITIONS), 22))
    await check_exact(backends, logs)
    for site in SITES:
        await until_total(api, site, 20)
    assert aggregator.is_running
    assert "Traceback" not in aggregator.output() + api.output() + late.output()


async def test_planted_meta_and_salt_stop_nobody_for_good(
    tmp_path: Path, backends: Backends, redis_own: RedisServer, start_service: StartService
) -> None:
    """Keys of no partition: services say what they found, do not crash, and go on once it is mended."""
    config = tmp_path / "visit-counter.toml"
    ingest = start_service("ingest", config)
    aggregator = start_service("aggregator", config)
    await write(backends, 0)
    await wait_counted(backends, dict.fromkeys(range(PARTITIONS), 11))
    await asyncio.to_thread(aggregator.terminate)
    with redis_own.client() as client:
        salt = next(client.scan_iter("vc:salt:*")).decode()
        undo = [retyped(META)(client), overwritten(salt, "", "short")(client)]
        await asyncio.to_thread(aggregator.start, wait=False)
        late = start_service("ingest", config, name="late-ingest", wait=False)
        for service in (aggregator, late):
            until = time.monotonic() + WAIT_SECONDS
            while "store_corrupt" not in (told := await ready(service)):
                assert time.monotonic() < until, told
                await asyncio.sleep(0.2)
        assert (await ready(ingest)).splitlines()[0] == "ready"
        for restore in undo:
            restore(client)
    for service in (aggregator, late, ingest):
        await asyncio.to_thread(service.wait_ready)
    await write(backends, 1)
    await wait_counted(backends, dict.fromkeys(range(PARTITIONS), 22))
    for service in (aggregator, late, ingest):
        assert "Traceback" not in service.output()


async def ready(service: Service) -> str:
    """Return what /readyz tells people; nothing while the service does not answer yet."""
    try:
        _, body = await asyncio.to_thread(http_get, f"{service.base_url}/readyz?verbose")
    except OSError:
        return ""
    return body.decode()


async def until_total(api: Service, site: str, wanted: int) -> None:
    """Wait until the api answers with a fresh total."""
    until = time.monotonic() + WAIT_SECONDS
    while (found := await total(api, site)) != (200, wanted, False):
        assert time.monotonic() < until, (site, found)
        await asyncio.sleep(0.2)


async def check_exact(backends: Backends, logs: dict[int, list[bytes]]) -> None:
    """Hold views, visits, visitors and pages against the oracle."""
    found = await compare(backends, logs)
    assert {site: numbers.views for site, numbers in found.items()} == dict.fromkeys(SITES, 20)
