"""`import-log` as a process: killed and repeated, interrupted, beside running services, on both pairs, read through the api."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.support.access_log import ACCESS_LOG, Plain, count, line
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.visit_counter import REPOSITORY, write_config

SITE = "portal"
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
LINES = ACCESS_LOG.read_text(encoding="utf-8").splitlines(keepends=True)
SEED = int(os.environ.get("VISIT_COUNTER_TEST_SEED", "0")) or random.SystemRandom().randrange(
    1, 10**6
)
BEGIN = 1_748_736_000
"""2025-06-01T00:00:00Z."""


def embedded(folder: Path) -> Path:
    """Write the configuration of an embedded pair."""
    folder.mkdir(exist_ok=True)
    url = f"sqlite:{folder / 'visit-counter.db'}"
    return write_config(folder / "visit-counter.toml", url, url, {SITE: {}})


def begin(config: Path, *files: Path | str, stdin: Path | None = None) -> subprocess.Popen[str]:
    """Start an import."""
    argv = [sys.executable, "-m", "services.cli", "import-log", *map(str, files)]
    with (stdin or Path(os.devnull)).open("rb") as given:
        return subprocess.Popen(
            [*argv, "--site", SITE, "--json", "--config", str(config)],
            stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
        )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for an import's end and return its answer."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    answer: dict[str, Any] = json.loads(output)
    assert answer["read"] == answer["counted"] + sum(answer["refused"].values())
    return answer


async def numbers(config: Path) -> dict[str, dict[str, int]]:
    """Return the site's counters and pages, once the store has them."""
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        dumped: Any = await backends.store.dump(0)
        return {name: dumped[name].get(SITE, {}) for name in ("counters", "pages")}
    finally:
        await backends.close()


def write_year(path: Path) -> Plain:
    """Write a log of 400 days; return what it amounts to."""
    rng = random.Random(SEED)
    lines = []
    for day in range(400):
        moments = sorted(rng.sample(range(86_400), 120))
        lines += [
            line(BEGIN + day * 86_400 + at, f"/bai-{rng.randrange(300)}", f"10.1.0.{rng.randrange(40)}")
            for at in moments
        ]  # fmt: skip
    path.write_text("".join(lines), encoding="utf-8")
    return count(lines, ZONE)


async def test_killed_and_repeated_is_one_run(tmp_path: Path) -> None:
    """Killed at random moments, the same command goes on to exactly the numbers of one whole run."""
    print(f"seed {SEED} (VISIT_COUNTER_TEST_SEED repeats it)")
    log = tmp_path / "access.log"
    expected = write_year(log)
    whole, killed = embedded(tmp_path / "whole"), embedded(tmp_path / "killed")
    began = time.monotonic()
    finish(begin(whole, log))
    seconds = time.monotonic() - began
    rng, ended_early = random.Random(SEED), 0
    for _ in range(8):
        process = begin(killed, log)
        try:
            process.wait(rng.uniform(0.3, 0.95) * seconds)
            ended_early += 1
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    answer = finish(begin(killed, log))
    print(
        f"one run {seconds:.1f} s; {ended_early} of 8 ended before their kill; the last counted {answer['counted']}"
    )
    found = await numbers(killed)
    assert found == await numbers(whole)
    assert found["pages"] == expected.pages
    letters = {"v": "views", "s": "visits", "p": "visitors"}
    assert {letters[k]: n for k, n in found["counters"].items() if k in letters} == {
        name: getattr(expected, name) for name in letters.values()
    }


async def test_interrupted_it_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C ends with one sentence and status 130; the same command completes."""
    log = tmp_path / "access.log"
    expected = write_year(log)
    config = embedded(tmp_path / "data")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = begin(config, pipe)
    with pipe.open("wb", buffering=0) as writer:
        given = log.read_bytes()
        writer.write(given[: len(given) * 2 // 3])
        process.send_signal(signal.SIGINT)
        # Reading goes on until the next look at what was asked for.
        with contextlib.suppress(BrokenPipeError):
            writer.write(given[len(given) * 2 // 3 :])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command goes on" in errors
    finish(begin(config, log))
    assert (await numbers(config))["counters"]["v"] == expected.views


async def test_standard_input(tmp_path: Path) -> None:
    """`-` reads what another program unpacks."""
    config = embedded(tmp_path / "data")
    answer = finish(begin(config, "-", stdin=ACCESS_LOG))
    assert answer["totals"]["views"] == count(LINES, ZONE).views


def get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310  # loopback
        answer: dict[str, Any] = json.load(response)
    return answer


def check_api(base_url: str, totals: dict[str, int]) -> None:
    """The api's totals and its history by local day read what was imported."""
    expected = count(LINES, ZONE)
    for metric, n in totals.items():
        assert get(f"{base_url}/v1/sites/{SITE}/counters?metric={metric}")["total"] == n
        address = f"{base_url}/v1/sites/{SITE}/history?metric={metric}&interval=day"
        answer = get(f"{address}&from=2015-05-17&to=2015-05-19")
        assert [point["n"] for point in answer["points"]] == [
            expected.days[day][metric] for day in ("2015-05-17", "2015-05-18", "2015-05-19")
        ]


async def test_beside_the_running_service(tmp_path: Path, start_service: StartService) -> None:
    """While `up` runs on the file the import is a second process beside it, and the service counts."""
    config = embedded(tmp_path / "data")
    up = start_service("up", config)
    answer = finish(begin(config, ACCESS_LOG))
    assert answer["deltas_uncounted"] == 0
    assert finish(begin(config, ACCESS_LOG))["counted"] == 0
    check_api(up.base_url, answer["totals"])


async def test_on_kafka_and_redis(
    tmp_path: Path,
    start_service: StartService,
    kafka: KafkaCluster,
    redis_server: RedisServer,
    topic: str,
) -> None:
    """Without an aggregator the deltas wait in the log and count once, however often they were written."""
    config = write_config(
        tmp_path / "visit-counter.toml",
        f"kafka://{kafka.bootstrap}/{topic}",
        redis_server.url,
        {SITE: {}},
        log={"partitions": 4},
    )
    first = finish(begin(config, ACCESS_LOG))
    second = finish(begin(config, ACCESS_LOG))
    assert first["totals"] == second["totals"]
    assert first["deltas_uncounted"] == second["deltas_uncounted"] == 9
    start_service("aggregator", config)
    api = start_service("api", config)
    third = await asyncio.to_thread(lambda: finish(begin(config, ACCESS_LOG)))
    assert third["counted"] == 0
    check_api(api.base_url, first["totals"])
