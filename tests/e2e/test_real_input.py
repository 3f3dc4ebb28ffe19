"""A real web server's log replayed as live views: sent = counted + refused, in answers, metrics and store; and privacy."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.load import Outcome, Visit, send
from tests.support.redis import RedisServer
from tests.support.truth import compare, kafka_values, sqlite_values, wait_counted
from tests.support.visit_counter import Service, write_config
from visits.partition import partition_of

ACCESS_LOG = Path(__file__).resolve().parents[1] / "data" / "access.log"
LINE = re.compile(r'(\S+) \S+ \S+ \[[^]]*\] "(\S+) (\S+)[^"]*" \d+ \S+ "[^"]*" "([^"]*)"')
SITE = "semicomplete"
SERVER = {"trusted_proxies": ["127.0.0.1/32"]}


def read_visits() -> list[Visit]:
    """Turn every line into a live view with its own client address and user agent."""
    visits = []
    for number, line in enumerate(ACCESS_LOG.read_text(encoding="utf-8").splitlines()):
        match = LINE.match(line)
        assert match is not None, line
        address, _method, path, agent = match.groups()
        visits.append(Visit(f"line-{number:06d}", SITE, path, address, agent))
    return visits


def refused_by_metric(service: Service) -> Counter[str]:
    """Return reason → amount from /metrics."""
    found: Counter[str] = Counter()
    for sample in service.metrics():
        if sample.name == "visit_counter_refused_total" and sample.value:
            found[sample.labels["reason"]] += int(sample.value)
    return found


async def replay(ingest: Service) -> Outcome:
    """Send all lines and check that every one has an answer."""
    visits = read_visits()
    outcome = await send(ingest.base_url, visits, 1_000)
    assert len(visits) == 5_000
    assert not outcome.unknown
    assert len(outcome.positions) + outcome.refused.total() == len(visits)
    assert len(outcome.positions) > 2_000
    assert outcome.refused["bot"] > 100
    assert refused_by_metric(ingest) == outcome.refused
    assert ingest.metric("visit_counter_acknowledged_total") == len(outcome.positions)
    print(f"5,000 lines: {len(outcome.positions)} counted, refused {dict(outcome.refused)}")
    return outcome


def check_privacy(folders: list[Path], *, texts: list[str]) -> None:
    """No client address and no user agent in any file, metric or line of output."""
    visits = read_visits()
    # Short agents ("-", "Java") are words that stand anywhere; whole agent strings are what identifies.
    secrets = {visit.address.encode() for visit in visits} | {
        v.agent.encode() for v in visits if len(v.agent) > 12
    }
    haystacks = [
        file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()
    ]
    haystacks += [text.encode() for text in texts]
    assert sum(map(len, haystacks)) > 100_000
    pattern = re.compile(b"|".join(re.escape(secret) for secret in sorted(secrets)))
    for haystack in haystacks:
        assert not (match := pattern.search(haystack)), match


async def test_real_log_on_the_embedded_pair(tmp_path: Path, start_service: StartService) -> None:
    """Sent = counted + refused by reason, alike in answers, metrics and store; nothing personal in any file."""
    data = tmp_path / "data"
    url = f"sqlite:{data / 'visit-counter.db'}"
    config = write_config(tmp_path / "visit-counter.toml", url, url, {SITE: {}}, server=SERVER)
    up = start_service("up", config)
    outcome = await replay(up)
    metrics = "\n".join(map(str, up.metrics()))
    await asyncio.to_thread(up.terminate)
    await asyncio.to_thread(up.start)
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        values = sqlite_values(data / "visit-counter.db")
        await wait_counted(backends, {0: len(values)})
        found = (await compare(backends, {0: values}))[SITE]
    finally:
        await backends.close()
    assert found.views == len(outcome.positions)
    assert found.refused == outcome.refused
    await asyncio.to_thread(up.terminate)
    check_privacy([data], texts=[metrics, up.output()])


async def test_real_log_on_kafka_and_redis(
    tmp_path: Path,
    start_service: StartService,
    kafka_own: KafkaCluster,
    redis_own: RedisServer,
    topic: str,
) -> None:
    """The same on the production pair; the broker's and the store's files, too."""
    log_url = f"kafka://{kafka_own.bootstrap}/{topic}"
    config = write_config(
        tmp_path / "visit-counter.toml",
        log_url,
        redis_own.url,
        {SITE: {}},
        server=SERVER,
        log={"partitions": 4},
    )
    ingest, aggregator = start_service("ingest", config), start_service("aggregator", config)
    outcome = await replay(ingest)
    metrics = "\n".join(map(str, [*ingest.metrics(), *aggregator.metrics()]))
    await asyncio.to_thread(ingest.terminate)
    partition = partition_of(SITE, 4)
    backends = make_backends(configuration(config))
    await backends.open()
    try:
        values = await kafka_values(kafka_own.bootstrap, topic, partition)
        await wait_counted(backends, {partition: len(values)})
        found = (await compare(backends, {partition: values}))[SITE]
    finally:
        await backends.close()
    assert found.views == len(outcome.positions)
    assert found.refused == outcome.refused
    with redis_own.client() as client:
        client.save()
    await asyncio.to_thread(kafka_own.terminate)
    check_privacy([tmp_path], texts=[metrics, ingest.output(), aggregator.output()])


@pytest.mark.parametrize("reads", [1_000])
async def test_reading_after_a_position_includes_the_view(
    tmp_path: Path, start_service: StartService, reads: int
) -> None:
    """1,000 times: view, then read with its position; every time the view is in the number."""
    url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    server = SERVER | {"rate_limit_per_second": 0}
    config = write_config(tmp_path / "visit-counter.toml", url, url, {SITE: {}}, server=server)
    up = start_service("up", config)

    def run() -> None:
        for number in range(1, reads + 1):
            body = json.dumps({"site": SITE, "page": "/a"}).encode()
            request = urllib.request.Request(  # noqa: S310  # loopback
                f"{up.base_url}/v1/views", body, {"User-Agent": "Mozilla/5.0 Firefox/130.0"}
            )
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                position = json.load(response)["position"]
            address = f"{up.base_url}/v1/sites/{SITE}/counters?metric=views&after={position}"
            with urllib.request.urlopen(address, timeout=10) as response:  # noqa: S310
                answer = json.load(response)
            assert answer["after"] is True
            assert answer["total"] == number

    began = time.monotonic()
    await asyncio.to_thread(run)
    print(f"{reads} views and reads in {time.monotonic() - began:.1f} s")
