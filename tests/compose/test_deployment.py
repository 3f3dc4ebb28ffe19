"""The deployment as an operator gets it, in the order of a day: up, looked at, loaded, hurt, searched, taken down.

The tests share one deployment and build on each other: they are run as a whole (`make test-compose`).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.compose import Stack, docker, json_of
from tests.support.compose_load import READERS, Load, write_access_log
from tests.support.process import answers_ok, http_get, http_post, wait_until

pytestmark = pytest.mark.compose

SITE = "load-test"
RATE = 100.0
LOAD_SECONDS = 60.0
BETWEEN_KILLS_SECONDS = 2.0
KINDS = (
    "ingest",
    "aggregator",
    "api",
    "kafka",
    "redis",
    "gateway",
    "prometheus",
    "alertmanager",
    "redis-exporter",
    "grafana",
)
SCALED = {"ingest": 2, "aggregator": 2, "api": 2}


def test_only_the_gateway_can_be_reached_from_outside(stack: Stack) -> None:
    """With the defaults nobody else publishes a port but on the loopback."""
    environment = {"COMPOSE_PROFILES": "core,observability,cli", "COMPOSE_PROJECT_NAME": "defaults"}
    described = json.loads(docker("compose", "config", "--format", "json", environment=environment))
    public = {
        name
        for name, service in described["services"].items()
        for port in service.get("ports", [])
        if port.get("host_ip") != "127.0.0.1"
    }
    assert public == {"gateway"}
    assert http_get(f"{stack.gateway}/metrics")[0] == 404
    assert http_get(f"{stack.gateway}/readyz")[0] == 404


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_may_do_no_more_than_it_must(stack: Stack, kind: str) -> None:
    """No root, no capability, no new privilege, a read-only root, bounds on memory, processor, processes and logs."""
    for container in stack.containers(kind):
        found = stack.inspect(container)
        host = found["HostConfig"]
        status = docker("exec", container, "cat", "/proc/1/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Uid"].split()[0] != "0"
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
        assert host["ReadonlyRootfs"]
        assert host["Memory"] > 0
        assert host["NanoCpus"] > 0
        assert 0 < host["PidsLimit"] <= 1024
        assert host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
        assert "RESTART" not in found["Config"]["Env"]
        assert not [
            line
            for line in found["Config"]["Env"]
            if "password" in line.lower() and "FILE" not in line
        ]


def test_the_reference_portal_counts(stack: Stack) -> None:
    """A view sent to the gateway is acknowledged, counted and seen by who follows the stream."""
    answers = f"{stack.gateway}/v1/sites/thanhxuan/counters"
    wait_until(lambda: answers_ok(answers), timeout_seconds=15, what="the first numbers")
    with following(stack, "thanhxuan") as events:
        before = json.loads(next(events))
        status, body = http_post(f"{stack.gateway}/v1/views", b'{"site":"thanhxuan","page":"/a"}')
        answer = json.loads(body)
        assert (status, answer["counted"]) == (202, True)
        after = json.loads(next(events))
    assert after["total"] == before["total"] + 1
    waited = stack.get(f"/v1/sites/thanhxuan/counters?metric=views&after={answer['position']}")
    assert waited["after"] is True
    assert waited["total"] >= 1


def test_a_new_site_carries_the_old_counter_s_numbers(stack: Stack) -> None:
    """As docs/deploy.md has it: a file in the folder of sites, live without a restart, and one command."""
    file = stack.configuration / "sites.d" / "my-portal.toml"
    file.write_text('name = "My portal"\norigins = ["https://portal.example"]\n', encoding="utf-8")
    answers = f"{stack.gateway}/v1/sites/my-portal/counters"
    wait_until(lambda: answers_ok(answers), timeout_seconds=15, what="the site")
    arguments = ("--total", "155351", "--evidence", "a screenshot of the old counter")
    stack.cli("open-balance", "--site", "my-portal", *arguments)
    wait_until(
        lambda: bool(json_of(answers)["total"] == 155_351),
        timeout_seconds=15,
        what="the old counter's total",
    )


def test_counts_are_exact_while_one_of_each_kind_is_killed(stack: Stack, tmp_path: Path) -> None:
    """Scaled up under load, every kind of container killed once: what was acknowledged is counted, once, and the books close."""
    log = write_access_log(tmp_path / "access.log")
    with Load(stack.gateway, SITE, rate=RATE, seconds=LOAD_SECONDS, log=log) as load:
        scales = [part for name, n in SCALED.items() for part in ("--scale", f"{name}={n}")]
        stack.up("--no-recreate", *scales)
        for kind in KINDS:
            assert load.is_running
            stack.crash(stack.containers(kind)[0])
            time.sleep(BETWEEN_KILLS_SECONDS)
        found = load.result()
    (stack.directory / "load.json").write_text(json.dumps(found), encoding="utf-8")
    shown = ("rate", "latency", "statuses", "errors", "balance")
    print(json.dumps({key: found[key] for key in shown}))
    balance = found["balance"]
    assert balance["closes"], balance["words"]
    assert balance["acknowledged"] == balance["counted"] == balance["sent"] > RATE
    stack.up("--no-recreate", *scales)
    assert {name: len(stack.containers(name)) for name in SCALED} == SCALED
    assert stack.get(f"/v1/sites/{SITE}/balance")["closes"] is True


def test_readers_are_told_apart_behind_the_gateway(stack: Stack) -> None:
    """Ingest sees each reader's own address, not the gateway's: as many visitors as there were addresses."""
    counters = stack.get(f"/v1/sites/{SITE}/counters?metric=visitors")
    assert counters["today"] in {READERS, 2 * READERS}  # a run over midnight is two days


def test_the_log_counted_again_comes_to_the_same_numbers(stack: Stack) -> None:
    """After all those kills, by the operator's own command and with the operator's rights."""
    print(stack.cli("rebuild", "--verify"))


def test_the_doctor_finds_every_hop_working(stack: Stack) -> None:
    """From the gateway to the numbers, and the client's address arrives."""
    hops = [f"http://{name}:8080" for name in ("gateway", "ingest", "aggregator", "api")]
    print(stack.cli("doctor", "--site", SITE, *(part for url in hops for part in ("--url", url))))


def test_redis_refused_nobody_anything(stack: Stack) -> None:
    """The users' rights suffice for all that was done, and the reader's do not suffice to write."""
    assert acl_log(stack) == []
    told = stack.compose(
        "run", "--rm", "--no-deps", "-T", "--entrypoint", "python", "api", "-c", WRITE_AS_READER
    )
    assert "NOPERM" in told or "no permissions" in told.lower()


def test_everything_is_scraped(stack: Stack) -> None:
    """All targets are up, every replica among them."""

    def targets() -> list[tuple[str, str]]:
        found = json_of(f"{stack.prometheus}/api/v1/targets?state=active")["data"]["activeTargets"]
        return [(target["labels"]["job"], target["health"]) for target in found]

    def all_up() -> bool:
        found = targets()
        return all(health == "up" for _job, health in found) and all(
            sum(job == name for job, _health in found) == n for name, n in SCALED.items()
        )

    wait_until(all_up, timeout_seconds=60, what=f"all targets up: {targets()}")
    assert {job for job, _health in targets()} >= {*SCALED, "redis", "prometheus", "alertmanager"}


def acl_log(stack: Stack) -> list[str]:
    """Return what Redis refused, to whom."""
    return [line for line in stack.python(READ_ACL_LOG).splitlines() if line]


READ_ACL_LOG = """
import asyncio
from pathlib import Path
from redis import Redis
url = Path("/run/secrets/VISIT_COUNTER_STORE__URL").read_text()
client = Redis.from_url(url, decode_responses=True)
for entry in client.acl_log():
    print(entry["username"], entry["reason"], entry["context"], entry["object"])
"""

WRITE_AS_READER = """
from pathlib import Path
from redis import Redis
client = Redis.from_url(Path("/run/secrets/VISIT_COUNTER_STORE__URL").read_text())
for command in (("SET", "vc:x", "1"), ("EVAL", "return redis.call('SET', KEYS[1], '1')", "1", "vc:x")):
    try:
        print("allowed", client.execute_command(*command))
    except Exception as error:
        print(error)
"""


@contextlib.contextmanager
def following(stack: Stack, site: str) -> Iterator[Iterator[str]]:
    """Follow a site's stream through the gateway; yields the data of its events."""
    parts = urlsplit(stack.gateway)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", f"/v1/sites/{site}/stream?metric=views")
    answer = connection.getresponse()
    try:
        yield (
            line.decode().removeprefix("data:").strip()
            for line in iter(answer.readline, b"")
            if line.startswith(b"data:")
        )
    finally:
        connection.close()
