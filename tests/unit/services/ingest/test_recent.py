"""What a browser is told of its own views: every outcome, nobody else's, nothing kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.ingest.arrival_watch import (
    SIGHTINGS_MAX,
    WATCH_SECONDS,
    WATCHERS_MAX,
    ArrivalWatch,
    Sighting,
)
from tests.support.ingest import BROWSER, Ingest
from visits.refusal import Refusal

PATH = "/v1/views/recent"
SITES: dict[str, dict[str, object]] = {
    "demo": {"origins": ["https://portal.example"]},
    "beside": {},
}


@pytest.fixture(params=["direct", "asgi"])
async def ingest(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Ingest]:
    """The same laws hold whichever way a view comes."""
    made = Ingest(tmp_path, SITES, is_direct=request.param == "direct")
    await made.start()
    yield made
    await made.stop()


async def recent(ingest: Ingest, site: str = "demo", **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await ingest.call("GET", PATH, headers=named, query=f"site={site}".encode())
    assert answer.status == 200
    # For the one who asks alone.
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    return answer.json


async def test_a_watching_browser_is_told_what_became_of_its_views(ingest: Ingest) -> None:
    """Counted with its position, refused with reason and mend, also under a wrong site id; latest first."""
    assert (await recent(ingest))["views"] == []
    counted = (await ingest.post({"site": "demo", "page": "/a", "id": "view-0001"})).json
    await ingest.post({"site": "demo", "page": "/a"}, origin="https://other.example")
    await ingest.post({"site": "dem0", "page": "/a"})
    unknown, refused, seen = (await recent(ingest))["views"]
    assert (seen["counted"], seen["id"], seen["position"]) == (
        True,
        "view-0001",
        counted["position"],
    )
    assert 0 <= seen["seconds_ago"] < 60
    assert (refused["counted"], refused["reason"]) == (False, "origin")
    assert "https://other.example" in refused["hint"]
    assert "[sites.demo]" in refused["hint"]
    assert (unknown["site"], unknown["reason"]) == ("dem0", "unknown_site")


async def test_nobody_is_told_of_others(ingest: Ingest) -> None:
    """Not of another browser's views, not of another site's, not of those before the watch, not of pings or pages."""
    await ingest.post({"site": "demo", "page": "/before"})
    assert (await recent(ingest))["views"] == []
    await ingest.post({"site": "demo", "page": "/a"}, user_agent=BROWSER + " other")
    await ingest.post({"site": "beside", "page": "/secret"})
    await ingest.post({"site": "demo", "kind": "ping"})
    assert (await recent(ingest))["views"] == []
    assert [seen["counted"] for seen in (await recent(ingest, "beside"))["views"]] == [True]
    assert "/secret" not in str(await recent(ingest, "beside"))
    assert (await recent(ingest, "beside", user_agent="Mozilla/5.0 third"))["views"] == []


async def test_the_image_is_watched_too(ingest: Ingest) -> None:
    """Pages without scripts arrive by another route and are told the same."""
    await recent(ingest)
    await ingest.call("GET", "/v1/views.gif", query=b"site=demo&page=/a")
    assert [seen["counted"] for seen in (await recent(ingest))["views"]] == [True]


async def test_what_is_known_of_the_browser_itself_is_told(ingest: Ingest) -> None:
    """DNT, a proxy that nobody trusts, and a name that passes for a program's."""
    plain = await recent(ingest)
    assert (plain["asks_privacy"], plain["untrusted_proxy"], plain["bot"]) == (False, False, None)
    told = await recent(ingest, dnt="1", x_forwarded_for="198.51.100.7", user_agent="Googlebot/2.1")
    assert (told["asks_privacy"], told["untrusted_proxy"]) == (True, True)
    assert "Googlebot" in told["bot"]


async def test_only_reading_is_answered(ingest: Ingest) -> None:
    """Another method is refused, a query that is none is nobody's site."""
    answer = await ingest.call("POST", PATH)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    for query in (b"", b"\xff\xfe", b"x" * 5000):
        assert (await ingest.call("GET", PATH, query=query)).json["views"] == []


def sighting(at: float, name: str = "a") -> Sighting:
    return Sighting(at, "demo", name, Refusal.BOT, "", "")


def test_a_watch_ends_and_is_bounded() -> None:
    """After ten minutes nothing more is remembered; neither watchers nor what they see grow without bound."""
    watch = ArrivalWatch()
    assert not watch
    me = watch.who(b"\x01", "me")
    watch.watch(me, 0.0)
    assert watch
    for n in range(SIGHTINGS_MAX + 5):
        watch.see(me, sighting(float(n), str(n)))
    assert [seen.id for seen in watch.watch(me, 20.0)] == [
        str(n) for n in range(SIGHTINGS_MAX + 4, 4, -1)
    ]
    watch.see(me, sighting(20.0 + WATCH_SECONDS))
    assert len(watch.watch(me, 21.0)) == SIGHTINGS_MAX
    assert watch.watch(watch.who(b"\x01", "other"), 22.0 + 2 * WATCH_SECONDS) == []
    assert len(watch._watches) == 1
    for n in range(2 * WATCHERS_MAX):
        watch.watch(watch.who(n.to_bytes(4, "big"), ""), 22.0 + 2 * WATCH_SECONDS)
    assert len(watch._watches) == WATCHERS_MAX


def test_what_stands_for_a_browser_tells_nothing() -> None:
    """Another process has another key; address and name cannot be told apart by moving a byte from one to the other."""
    one, other = ArrivalWatch(), ArrivalWatch()
    assert one.who(b"\x7f\x00\x00\x01", "x") == one.who(b"\x7f\x00\x00\x01", "x")
    assert one.who(b"\x7f\x00\x00\x01", "x") != other.who(b"\x7f\x00\x00\x01", "x")
    assert one.who(b"\x01", "x") != one.who(b"\x01x", "")
