"""Batches, corrections and tokens over HTTP, and sites changed while everything runs, on both pairs of backends."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.e2e.test_reference_case import command
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.truth import compare, kafka_values, sqlite_values, wait_counted
from tests.support.visit_counter import Service, write_config
from visits.partition import partition_of

SITE = "portal"
LINES = 6_000
HOUR = 3_600_000
GAP = HOUR // 2
SOON_SECONDS = 20.0
"""A generous bound on what takes about a second."""

Values = Callable[[int], Awaitable[list[bytes]]]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class World(NamedTuple):
    """What runs, and where it is declared."""

    config: Path
    ingest: Service
    api: Service
    partitions: int
    values: Values

    def declare(self, site: str, text: str) -> None:
        (self.config.parent / "sites.d" / f"{site}.toml").write_text(text, encoding="utf-8")

    async def token(self, site: str) -> str:
        printed = await asyncio.to_thread(command, self.config, "token", "new", "--site", site)
        return printed.strip()

    async def send(self, path: str, body: bytes, token: str = "") -> Answer:
        headers = {"User-Agent": "Mozilla/5.0 Firefox/130.0"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return await asyncio.to_thread(call, f"{self.ingest.base_url}{path}", body, headers)

    async def read(self, site: str, what: str = "/counters?metric=views", after: str = "") -> Any:
        """Read from the api, if asked after a position."""
        url = f"{self.api.base_url}/v1/sites/{site}{what}"
        until = time.monotonic() + SOON_SECONDS
        while True:
            answer = await asyncio.to_thread(call, f"{url}&after={after}" if after else url)
            if not after or (answer.status == 200 and answer.body["after"]):
                assert answer.status == 200, answer
                return answer.body
            assert time.monotonic() < until, answer


def call(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    """Send one request."""
    request = urllib.request.Request(url, body, headers or {})  # noqa: S310  # loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # loopback
            return Answer(response.status, dict(response.headers), parsed(response.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), parsed(error.read()))


def parsed(raw: bytes) -> Any:
    """Return the JSON of an answer, or its text."""
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


async def soon(look: Callable[[], Awaitable[bool]], what: str) -> float:
    """Wait until something holds; return how long it took."""
    began = time.monotonic()
    while not await look():
        assert time.monotonic() - began < SOON_SECONDS, what
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def batch() -> tuple[bytes, int]:
    """Return views of the last 23 hours in any order, in both ways to write a time, two of them twice; and their visits."""
    now = int(time.time() * 1000)
    lines: list[str] = []
    seen: dict[int, int] = {}
    visits = 0
    for number in range(LINES - 2):
        at = now - (LINES - number) * 23 * HOUR // LINES
        written = at if number % 2 else datetime.fromtimestamp(at / 1000, UTC).isoformat()
        # Every 23 minutes the same reader in the first half, a visit that goes on; every 46 in the second.
        reader = number % (100 if number < LINES // 2 else 200)
        visits += at - seen.get(reader, 0) > GAP
        seen[reader] = at
        line = {"at": written, "visitor": f"reader-{reader:09d}", "page": f"/a/{number % 40}"}
        lines.append(json.dumps(line | ({"id": f"line-{number:06d}"} if number % 3 else {})))
    lines += lines[1:3]
    random.Random(7).shuffle(lines)
    return "\n".join(lines).encode(), visits


async def check_batches(world: World, token: str) -> int:
    """A batch is counted once, however often it comes; returns its views."""
    body, visits = batch()
    first = await world.send("/v1/batches", body, token)
    assert first.status == 202, first
    assert first.body["accepted"] == LINES - 2
    assert first.body["duplicates"] == 2
    numbers = await world.read(SITE, after=first.body["position"])
    again = await world.send("/v1/batches", body, token)
    assert again.body["accepted"] == LINES - 2
    repeated = await world.read(SITE, after=again.body["position"])
    assert numbers["total"] == repeated["total"] == LINES - 2
    assert repeated["today"] + repeated["yesterday"] == LINES - 2
    # One line every 13.8 s: so many in five minutes; all others were readers of hours ago.
    assert repeated["online"] <= numbers["online"] <= 5 * 60_000 * LINES // (23 * HOUR) + 1
    bad = await world.send("/v1/batches", body + b'\n{"at":1}\nnonsense', token)
    assert bad.status == 400
    assert [error["line"] for error in bad.body["errors"]] == [LINES + 1, LINES + 2]
    partition = partition_of(SITE, world.partitions)
    backends = make_backends(configuration(world.config), exclusive=False)
    await backends.open()
    try:
        values = await world.values(partition)
        await wait_counted(backends, {partition: len(values)})
        found = (await compare(backends, {partition: values}))[SITE]
    finally:
        await backends.close()
    assert found.views == LINES - 2
    assert found.visits == visits < found.views
    assert found.duplicates == LINES + 2
    assert sum(1 for n in found.hours.values() if n) >= 23
    print(f"{found.views} views, {found.visits} visits, {found.visitors} visitors by the oracle")
    return found.views


async def check_deltas(world: World, token: str, views: int) -> None:
    """A correction applies once; one that would make a number negative is refused whole, and listed."""
    path = f"/v1/sites/{SITE}/deltas"
    span = {"from": "2026-01-01T00:00:00+00:00", "to": 1_767_225_600_000 + 24 * HOUR, "n": 250}
    body = {"id": "correction-1", "metric": "views", "spans": [span], "pages": {"/a/1/": 7}}
    raw = json.dumps(body | {"why": "a lost day", "evidence": "letter 7"}).encode()
    for _ in range(2):
        taken = await world.send(path, raw, token)
        assert taken.status == 202, taken
        assert taken.body["id"] == "correction-1"
        numbers = await world.read(SITE, after=taken.body["position"])
        assert numbers["total"] == views + 250
    negative = {"id": "correction-2", "metric": "views", "spans": [{"from": None, "n": -(10**9)}]}
    taken = await world.send(path, json.dumps(negative).encode(), token)
    assert taken.status == 202
    assert (await world.read(SITE, after=taken.body["position"]))["total"] == views + 250
    pages = await world.read(SITE, "/pages?page=/a/1", after=taken.body["position"])
    assert pages["pages"]["/a/1"] == len([n for n in range(LINES - 2) if n % 40 == 1]) + 7
    entries = {entry["id"]: entry for entry in (await world.read(SITE, "/ledger"))["entries"]}
    assert entries.keys() == {"correction-1", "correction-2"}
    assert (entries["correction-1"]["outcome"], entries["correction-1"]["n"]) == ("applied", 250)
    assert entries["correction-1"]["why"] == "a lost day"
    assert entries["correction-2"]["outcome"] == "refused"
    assert entries["correction-2"]["reason"]
    unaligned = body | {"spans": [span | {"to": 1_767_225_600_001}]}
    assert (await world.send(path, json.dumps(unaligned).encode(), token)).status == 400
    assert (await world.send(path, raw, "wrong")).status == 401


async def check_live_changes(world: World, token: str) -> None:
    """Sites come, break, mend and go, and tokens end, while everything runs."""

    async def takes(site: str) -> bool:
        body = json.dumps({"site": site, "page": "/"}).encode()
        return (await world.send("/v1/views", body)).status == 202

    async def serves(site: str) -> bool:
        url = f"{world.api.base_url}/v1/sites/{site}/counters"
        return (await asyncio.to_thread(call, url)).status == 200

    async def is_noted() -> bool:
        found = await asyncio.to_thread(call, f"{world.ingest.base_url}/readyz?verbose")
        assert found.status == 200, "a bad file makes nobody unready"
        return "new.toml, line 2: timezone = 'Asia/Hanoi'" in found.body

    assert not await takes("new")
    world.declare("new", 'name = "New"\n')
    seconds = await soon(lambda: takes("new"), "the new site is not taken")
    await soon(lambda: serves("new"), "the new site is not served")
    print(f"a new site is taken after {seconds:.1f} s")
    world.declare("new", 'name = "New"\ntimezone = "Asia/Hanoi"\n')
    await soon(is_noted, "the bad file is not noted")
    assert await takes("new")
    assert world.ingest.metric("visit_counter_site_faults") == 1
    (world.config.parent / "sites.d" / "new.toml").unlink()

    async def is_gone() -> bool:
        return not await takes("new") and not await serves("new")

    await soon(is_gone, "the removed site is still there")
    assert world.ingest.metric("visit_counter_site_faults") == 0
    line = {"at": int(time.time() * 1000), "visitor": "a" * 16, "page": "/"}
    raw = json.dumps(line).encode()
    assert (await world.send("/v1/batches", raw, token)).status == 202
    await asyncio.to_thread(command, world.config, "token", "revoke", "--site", SITE)

    async def is_revoked() -> bool:
        answer = await world.send("/v1/batches", raw, token)
        return answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer")

    seconds = await soon(is_revoked, "the token still opens the site")
    print(f"a revoked token is refused after {seconds:.1f} s")
    assert await takes(SITE)


async def check(world: World) -> None:
    """The whole story, with a token that is made while everything runs."""
    token = await world.token(SITE)

    async def is_known() -> bool:
        return (await world.send("/v1/batches", b"x", token)).status == 400

    await soon(is_known, "the new token is not known")
    views = await check_batches(world, token)
    await check_deltas(world, token, views)
    await check_live_changes(world, token)


def declare_portal(tmp_path: Path) -> None:
    (tmp_path / "sites.d").mkdir()
    (tmp_path / "sites.d" / f"{SITE}.toml").write_text(
        '# the portal\nname = "Portal"\n', encoding="utf-8"
    )


async def test_embedded(tmp_path: Path, start_service: StartService) -> None:
    """On SQLite, all in one process."""
    declare_portal(tmp_path)
    file = tmp_path / "data" / "visit-counter.db"
    url = f"sqlite:{file}"
    config = write_config(
        tmp_path / "visit-counter.toml", url, url, {"main": {}}, sites_dir="sites.d"
    )
    up = start_service("up", config)

    async def values(_partition: int) -> list[bytes]:
        return sqlite_values(file)

    await check(World(config, up, up, 1, values))


async def test_kafka_and_redis(
    tmp_path: Path,
    start_service: StartService,
    kafka: KafkaCluster,
    redis_server: RedisServer,
    topic: str,
) -> None:
    """On Kafka and Redis, as three processes."""
    declare_portal(tmp_path)
    config = write_config(
        tmp_path / "visit-counter.toml",
        f"kafka://{kafka.bootstrap}/{topic}",
        redis_server.url,
        {"main": {}},
        log={"partitions": 4},
        sites_dir="sites.d",
    )
    ingest = start_service("ingest", config)
    start_service("aggregator", config)
    api = start_service("api", config)

    async def values(partition: int) -> list[bytes]:
        return await kafka_values(kafka.bootstrap, topic, partition)

    await check(World(config, ingest, api, 4, values))
