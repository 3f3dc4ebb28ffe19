"""`visit-counter load` as people run it, against a real counter: its exit status, its books, what it refuses."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartService
from tests.support.process import http_get
from tests.support.visit_counter import REPOSITORY, Service, write_config

TOKEN = "a-token-of-this-test"
LOG = REPOSITORY / "tests" / "data" / "access.log"
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
END_SECONDS_MAX = 120


@pytest.fixture
def counter(tmp_path: Path, start_service: StartService) -> Service:
    """An embedded counter with a site for tests and one that is not."""
    url = f"sqlite:{tmp_path / 'visit-counter.db'}"
    digest = "sha256:" + sha256(TOKEN.encode()).hexdigest()
    sites = {"trial": {"test": True, "tokens": [digest]}, "portal": {}}
    config = write_config(tmp_path / "visit-counter.toml", url, url, sites, server=SERVER)
    return start_service("up", config)


def start(counter: Service, *options: str) -> subprocess.Popen[str]:
    address = [] if "--site" in options else ["--site", "trial"]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "services.cli", "load"),
            *("--url", counter.base_url, *address, *options),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(counter: Service, *options: str) -> tuple[int, str, str]:
    """Run `load` to its end; return exit status, output and errors."""
    with start(counter, *options) as process:
        out, err = process.communicate(timeout=END_SECONDS_MAX)
    return process.returncode, out, err


def run_json(counter: Service, *options: str) -> tuple[int, dict[str, Any]]:
    status, out, err = run(counter, *options, "--json")
    assert out.startswith("{"), err
    return status, json.loads(out)


def total(counter: Service, site: str = "trial", metric: str = "views") -> int:
    answer = http_get(f"{counter.base_url}/v1/sites/{site}/counters?metric={metric}")[1]
    return int(json.loads(answer)["total"])


def assert_closed(balance: dict[str, Any]) -> None:
    assert balance["closes"] is True, balance
    refused = sum(balance["refused"].values())
    assert balance["sent"] == balance["counted"] + refused + balance["unknown"]


def test_a_load_is_counted_to_the_view_and_says_so(counter: Service, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    status, out, _ = run(
        counter, "--rate", "300", "--duration", "5s", "--token", TOKEN, "--plot", str(plot)
    )
    assert "sent 1500 = counted 1500 + refused 0 + unknown 0\n" in out
    assert status == 0
    assert total(counter) == 1_500
    assert plot.read_text(encoding="utf-8").startswith("<svg ")


def test_the_json_tells_latencies_from_the_moment_due_and_the_time_to_be_visible(
    counter: Service,
) -> None:
    status, found = run_json(counter, "--rate", "200", "--duration", "3s", "--token", TOKEN)
    assert status == 0
    assert_closed(found["balance"])
    assert found["statuses"] == {"202": 600}
    latency, service = found["latency"], found["service"]
    assert latency["samples"] == service["samples"] == 600
    order = [latency[name] for name in ("p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms")]
    assert order == sorted(order)
    assert latency["mean_ms"] >= service["mean_ms"]
    assert found["visible"]["samples"] > 0
    assert sum(row["counted"] for row in found["timeline"]) == 600
    assert found["generator"]["bytes_sent"] > 600 * 200


def test_with_a_token_as_many_readers_are_told_apart_as_were_asked_for(counter: Service) -> None:
    options = ("--rate", "300", "--duration", "2s", "--visitors", "40", "--token", TOKEN)
    assert run(counter, *options)[0] == 0
    assert total(counter, metric="visitors") == 40


def test_a_rate_that_cannot_be_reached_ends_with_2(counter: Service) -> None:
    options = ("--rate", "50000", "--duration", "2s", "--connections", "1", "--token", TOKEN)
    status, found = run_json(counter, *options)
    assert status == 2
    assert_closed(found["balance"])
    assert found["rate"]["reached"] < 0.99 * found["rate"]["asked"]


def test_books_that_do_not_close_end_with_1(counter: Service) -> None:
    """Somebody else counts into the site meanwhile: the service has more views than were sent."""
    with start(counter, "--rate", "50", "--duration", "4s", "--token", TOKEN) as process:
        before = total(counter)
        while total(counter) == before:
            time.sleep(0.05)
        curl = ["curl", "-sf", "-A", "Mozilla/5.0", "-d", '{"site":"trial","page":"/by-hand"}']
        subprocess.run([*curl, f"{counter.base_url}/v1/views"], check=True, capture_output=True)
        out, _ = process.communicate(timeout=END_SECONDS_MAX)
    assert process.returncode == 1
    assert "1 more views are counted than were sent" in out


def test_a_site_that_is_not_for_tests_is_refused_unless_named_twice(counter: Service) -> None:
    options = ("--site", "portal", "--rate", "50", "--duration", "1s")
    status, out, err = run(counter, *options)
    assert status != 0
    assert "is not for tests" in err
    assert not out
    assert total(counter, "portal") == 0
    assert run(counter, *options, "--count-into", "trial")[0] != 0
    assert total(counter, "portal") == 0
    assert run(counter, *options, "--count-into", "portal")[0] == 0
    assert total(counter, "portal") == 50


def test_a_site_or_a_service_that_is_not_there_is_said_in_a_sentence(counter: Service) -> None:
    status, _, err = run(counter, "--site", "nobody", "--rate", "5", "--duration", "1s")
    assert status != 0
    assert "no site 'nobody'" in err
    counter.kill()
    status, _, err = run(counter, "--rate", "5", "--duration", "1s")
    assert status != 0
    assert "does not answer" in err
    assert "Traceback" not in err


def test_with_retry_the_books_close_though_the_counter_is_killed_meanwhile(
    counter: Service,
) -> None:
    options = ("--rate", "400", "--duration", "8s", "--retry", "--token", TOKEN, "--json")
    with start(counter, *options) as process:
        while total(counter) < 400:
            time.sleep(0.05)
        for _ in range(3):
            time.sleep(random.uniform(0.2, 1.0))
            counter.restart()
        out, err = process.communicate(timeout=END_SECONDS_MAX)
    found = json.loads(out)
    print(found["balance"], found["errors"], found["generator"])
    assert_closed(found["balance"])
    assert found["balance"]["acknowledged"] == found["balance"]["counted"] == 3_200, err
    assert found["errors"], "no view lost its answer: the kills came at no load"


def test_ctrl_c_ends_with_the_figures_so_far(counter: Service) -> None:
    with start(counter, "--rate", "100", "--duration", "10m", "--token", TOKEN) as process:
        while total(counter) < 50:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=END_SECONDS_MAX)
    assert process.returncode == 0, err
    assert "stopped early" in out
    assert "Traceback" not in err
    assert f"counted {total(counter)} + refused 0 + unknown 0" in out


def test_a_log_is_replayed_and_its_robots_are_refused(counter: Service) -> None:
    options = ("--rate", "500", "--duration", "5s", "--replay", str(LOG))
    status, found = run_json(counter, *options)
    assert status == 0
    assert_closed(found["balance"])
    assert found["balance"]["refused"]["bot"] > 100
    assert 100 < total(counter, metric="visitors") < found["balance"]["counted"]
