"""The reference case of DESIGN 1, by our own commands and live views only, on both pairs, up to a real Chromium."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.load import HUMAN, Visit, send
from tests.support.redis import RedisServer
from tests.support.visit_counter import REPOSITORY, Service, write_config

SITE = "thanhxuan"
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
READERS = 1134
REFERENCE = {"online": 1134, "week": 21_559, "month": 87_424, "year": 155_277, "total": 155_351}
LINES = (
    "Thống kê truy cập\n"
    "Đang online: 1134\n"
    "Lượt truy cập trong tuần: 21559\n"
    "Lượt truy cập trong tháng: 87424\n"
    "Lượt truy cập trong năm: 155277\n"
    "Tổng số truy cập: 155351"
)
BUCKET_SECONDS = 3600
ROOM_SECONDS = 120
"""The case is read within the hour it was made in: rolling windows move on with every hour."""


def command(config: Path, *arguments: str | Path) -> str:
    """Run a command of ours and return what it printed."""
    argv: Sequence[str] = [
        sys.executable,
        "-m",
        "services.cli",
        *map(str, arguments),
        "--config",
        str(config),
    ]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def get(url: str) -> dict[str, Any]:
    """Read a JSON answer."""
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310  # loopback
        return dict(json.load(response))


async def wait_for_room() -> None:
    """Begin early enough in an hour that the case is read within it."""
    left = BUCKET_SECONDS - time.time() % BUCKET_SECONDS
    if left < ROOM_SECONDS:
        await asyncio.sleep(left + 1)


async def make_reference(config: Path, ingest: Service, tmp_path: Path, *, readers: int) -> None:
    """Carry over what the old counter had, less the live readers, and let these come."""
    pages = tmp_path / "pages.csv"
    pages.write_text("page,views\n/tin-tuc/bai-1,55\n", encoding="utf-8")
    numbers = {name: REFERENCE[name] - READERS for name in ("total", "year", "month", "week")}
    options = [text for name, n in numbers.items() for text in (f"--{name}", str(n))]
    printed = await asyncio.to_thread(
        command,
        config,
        "open-balance",
        "--site",
        SITE,
        *options,
        "--pages",
        pages,
        "--evidence",
        "test",
    )
    assert f"Tổng số truy cập: {numbers['total']}" in printed
    assert "counted at" in printed
    visits = [
        Visit(
            f"reader-{n:06d}",
            SITE,
            "/tin-tuc/bai-1" if n == 0 else "/",
            f"198.51.{n // 250}.{n % 250 + 1}",
        )
        for n in range(readers)
    ]
    outcome = await send(ingest.base_url, visits, 2_000)
    assert len(outcome.positions) == readers


async def check_api(api: Service, readers: int = READERS) -> None:
    """The api reads exactly the reference numbers."""
    url = f"{api.base_url}/v1/sites/{SITE}"
    missing = READERS - readers
    expected = {name: n - missing for name, n in REFERENCE.items()}
    until = time.monotonic() + 20
    answer: dict[str, Any] = {}
    while time.monotonic() < until:
        answer = await asyncio.to_thread(get, f"{url}/counters?windows=rolling")
        if {name: answer[name] for name in expected} == expected:
            break
        await asyncio.sleep(0.2)
    assert {name: answer[name] for name in expected} == expected
    assert answer["stale"] is False
    query = urllib.parse.urlencode([("page", "/tin-tuc/bai-1"), ("page", "/never")])
    pages = await asyncio.to_thread(get, f"{url}/pages?{query}")
    assert pages["pages"] == {"/tin-tuc/bai-1": 56, "/never": 0}


async def test_reference_case_on_kafka_and_redis(
    tmp_path: Path,
    start_service: StartService,
    kafka: KafkaCluster,
    redis_server: RedisServer,
    topic: str,
) -> None:
    """open-balance and 1,134 live readers give exactly the reference numbers on the production pair."""
    await wait_for_room()
    log_url = f"kafka://{kafka.bootstrap}/{topic}"
    config = write_config(
        tmp_path / "visit-counter.toml",
        log_url,
        redis_server.url,
        {SITE: {}},
        server=SERVER,
        log={"partitions": 4},
    )
    ingest = start_service("ingest", config)
    start_service("aggregator", config)
    api = start_service("api", config)
    await make_reference(config, ingest, tmp_path, readers=READERS)
    await check_api(api)


@pytest.mark.parametrize("stopped", [True, False], ids=["before the start", "beside the service"])
async def test_reference_case_embedded_and_in_a_browser(
    tmp_path: Path, start_service: StartService, browser: Browser, stopped: bool
) -> None:
    """The same on the embedded pair; the 1,134th reader is a real Chromium, and its panel reads exactly the lines."""
    await wait_for_room()
    url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    config = write_config(tmp_path / "visit-counter.toml", url, url, {SITE: {}}, server=SERVER)
    up = start_service("up", config)
    if stopped:
        await asyncio.to_thread(up.terminate)
        await asyncio.to_thread(up.start)
    await make_reference(config, up, tmp_path, readers=READERS - 1)
    await check_api(up, READERS - 1)
    page = await browser.new_page(user_agent=HUMAN)
    html = (
        f'<!doctype html><meta charset="utf-8"><title>portal</title>'
        f'<script async src="{up.base_url}/widget/v1.js" data-site="{SITE}"></script>'
        f'<visit-counter site="{SITE}"></visit-counter>'
        f'<visit-counter site="{SITE}" page="/tin-tuc/bai-1" show="views"></visit-counter>'
    )
    await page.route("**/portal", lambda route: route.fulfill(body=html, content_type="text/html"))
    await page.goto(f"{up.base_url}/portal")
    panel = page.locator("visit-counter").first
    until = time.monotonic() + 20
    text = ""
    while time.monotonic() < until and text != LINES:
        await asyncio.sleep(0.2)
        text = await panel.evaluate(
            "element => (element.shadowRoot && element.shadowRoot.querySelector('[part~=panel]') || {innerText: ''}).innerText.trim()"
        )
    assert text == LINES
    views = (
        await page.locator("visit-counter")
        .nth(1)
        .evaluate("element => element.shadowRoot.textContent")
    )
    assert "Lượt xem: 56" in " ".join(views.split())
    await check_api(up)
