"""Three brokers, a Redis Cluster of six, two of each service: one of each may be lost under load."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.conftest import PROJECT, trust_this_machine
from tests.support.compose import ComposeError, Stack, engine_answers, json_of
from tests.support.compose_load import READERS, Load, write_access_log
from tests.support.process import wait_until

pytestmark = pytest.mark.compose

SITE = "load-test"
RATE = 60.0
LOAD_SECONDS = 60.0
KILLED = ("kafka-2", "ingest", "aggregator", "api", "redis", "redis-5")
BETWEEN_KILLS_SECONDS = 5.0
SERVERS = ("redis", *(f"redis-{number}" for number in range(2, 7)))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if not engine_answers():
        pytest.fail("no Docker engine with Compose answers: start one, then repeat")
    found = Stack(
        os.environ.get("COMPOSE_TEST_PROJECT", PROJECT),
        tmp_path_factory.mktemp("stack"),
        files=["deploy/compose.ha.yml"],
        subnet=90,
    )
    trust_this_machine(found.gateway_configuration / "trusted-proxies.conf")
    found.down()
    try:
        found.up("--build")
        yield found
    finally:
        found.down()


def test_one_of_each_may_be_lost_under_load(stack: Stack, tmp_path: Path) -> None:
    """Brokers, servers, services: what was acknowledged is counted, once."""
    log = write_access_log(tmp_path / "access.log")
    with Load(stack.gateway, SITE, rate=RATE, seconds=LOAD_SECONDS, log=log) as load:
        for kind in KILLED:
            assert load.is_running
            stack.crash(stack.containers(kind)[0])
            time.sleep(BETWEEN_KILLS_SECONDS)
        found = load.result()
    shown = ("rate", "latency", "statuses", "errors", "balance")
    print(json.dumps({key: found[key] for key in shown}))
    balance = found["balance"]
    assert balance["closes"], balance["words"]
    assert balance["acknowledged"] == balance["counted"] == balance["sent"] > RATE
    stack.up("--no-recreate")
    assert {len(stack.containers(kind)) for kind in ("ingest", "aggregator", "api")} == {2}
    counters = stack.get(f"/v1/sites/{SITE}/counters?metric=visitors")
    assert counters["today"] in {READERS, 2 * READERS}


def test_every_server_and_service_is_watched(stack: Stack) -> None:
    """All targets are up: six servers, two of each service."""

    def states() -> list[tuple[str, str]]:
        found = json_of(f"{stack.prometheus}/api/v1/targets?state=active")["data"]["activeTargets"]
        return [(target["labels"]["job"], target["health"]) for target in found]

    def is_whole() -> bool:
        jobs = [job for job, health in states() if health == "up"]
        counts = [jobs.count(job) for job in ("redis", "ingest", "aggregator", "api")]
        return counts == [6, 2, 2, 2] and len(jobs) == len(states())

    wait_until(is_whole, timeout_seconds=90, what=f"all targets up: {states()}")


def test_no_server_refused_anybody_anything(stack: Stack) -> None:
    """The users' rights suffice in a cluster too, and the cluster is whole again."""
    for server in SERVERS:
        told = stack.python(ASK_SERVER.format(server=server))
        assert told.splitlines() == ["cluster_state:ok"], server


def test_the_cluster_outlives_a_stop_of_everything(stack: Stack) -> None:
    """Down and up again, volumes kept: the numbers are there."""
    before = stack.get(f"/v1/sites/{SITE}/counters?metric=views")["total"]
    stack.compose("down", "--timeout", "20", seconds=180)
    with pytest.raises((OSError, ComposeError)):
        stack.get(f"/v1/sites/{SITE}/counters?metric=views")
    stack.up()

    def has_come_back() -> bool:
        try:
            return bool(stack.get(f"/v1/sites/{SITE}/counters?metric=views")["total"] == before)
        except OSError:
            return False

    wait_until(has_come_back, timeout_seconds=60, what=f"{before} views again")


ASK_SERVER = """
from pathlib import Path
from urllib.parse import urlsplit
from redis import Redis
url = Path("/run/secrets/VISIT_COUNTER_STORE__URL").read_text().split(",")[0]
at = urlsplit(url.replace("redis-cluster", "redis"))
client = Redis(host="{server}", username=at.username, password=at.password, decode_responses=True)
print(client.execute_command("CLUSTER", "INFO").split()[0])
for entry in client.acl_log():
    print(entry["username"], entry["reason"], entry["context"], entry["object"])
"""
