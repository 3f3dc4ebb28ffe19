"""Who is who over HTTP: a proxy that nobody named, and browsers that keep an id of their own."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from services.ingest.visitor import NEW_VISITORS_AN_HOUR
from tests.conftest import StartService
from tests.e2e.test_writing_over_http import call
from tests.support.load import HUMAN, Visit, send
from tests.support.visit_counter import Service, write_config

VIEWS = 500
NAMES = NEW_VISITORS_AN_HOUR + 5
ROOM_SECONDS = 60
"""Visitors are counted by the hour and the local day: a test that tells them apart stays within both."""


def start(
    start_service: StartService, tmp_path: Path, sites: dict[str, dict[str, object]], **server: Any
) -> Service:
    """Start everything in one process, without a limit of the rate."""
    url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    config = write_config(
        tmp_path / "visit-counter.toml",
        url,
        url,
        sites,
        server={"rate_limit_per_second": 0, **server},
    )
    return start_service("up", config)


def note(service: Service) -> str:
    """Return what /readyz?verbose says."""
    answer = call(f"{service.base_url}/readyz?verbose")
    assert answer.status == 200
    return str(answer.body)


def counted_visitors(service: Service, site: str, position: str) -> int:
    """Return the visitors of a site, up to a position."""
    url = f"{service.base_url}/v1/sites/{site}/counters?metric=visitors&after={position}"
    answer = call(url)
    assert answer.body["after"] is True, answer
    return int(answer.body["total"])


async def test_a_proxy_that_nobody_named(tmp_path: Path, start_service: StartService) -> None:
    """All readers have the proxy's address: people are told which CIDR to add; once it is added, they are told apart."""
    visits = [
        Visit(f"view-{n:06d}", "demo", "/", f"198.51.{n // 250}.{n % 250 + 1}")
        for n in range(VIEWS)
    ]
    up = start(start_service, tmp_path, {"demo": {}})
    outcome = await send(up.base_url, visits, 1_000)
    assert len(outcome.positions) == VIEWS
    assert up.metric("visit_counter_client_address_suspect") == 1
    assert "'127.0.0.1/32' to server.trusted_proxies" in note(up)
    assert "nearly all views share one address" in up.output()
    last = max(outcome.positions.values(), key=lambda position: int(str(position).split(":")[1]))
    assert await asyncio.to_thread(counted_visitors, up, "demo", str(last)) == 1
    await asyncio.to_thread(up.terminate)
    (tmp_path / "second").mkdir()
    named = start(
        start_service, tmp_path / "second", {"demo": {}}, trusted_proxies=["127.0.0.1/32"]
    )
    outcome = await send(named.base_url, visits, 1_000)
    assert len(outcome.positions) == VIEWS
    assert named.metric("visit_counter_client_address_suspect") == 0
    assert "trusted_proxies" not in note(named)


async def test_browsers_that_keep_an_id(tmp_path: Path, start_service: StartService) -> None:
    """Only where the site says `identity = "storage"` is a name read, and of one address only so many new ones an hour."""
    left = 3600 - time.time() % 3600
    if left < ROOM_SECONDS:
        await asyncio.sleep(left + 1)
    up = start(start_service, tmp_path, {"stored": {"identity": "storage"}, "plain": {}})

    def view(site: str, visitor: str) -> str:
        body = json.dumps({"site": site, "page": "/", "visitor": visitor}).encode()
        answer = call(f"{up.base_url}/v1/views", body, {"User-Agent": HUMAN})
        assert answer.body["counted"] is True
        return str(answer.body["position"])

    def run() -> dict[str, int]:
        found = {}
        for site in ("stored", "plain"):
            for name in (*range(NAMES), *range(3)):
                position = view(site, f"browser-{name:016d}")
            found[site] = counted_visitors(up, site, position)
        for bad in ("short", "a" * 65, "with space and more", ""):
            position = view("stored", bad)
        found["bad"] = counted_visitors(up, "stored", position)
        return found

    found = await asyncio.to_thread(run)
    # The names beyond the limit, and the bad ones, are the address itself: one visitor more.
    assert found == {
        "stored": NEW_VISITORS_AN_HOUR + 1,
        "plain": 1,
        "bad": NEW_VISITORS_AN_HOUR + 1,
    }
