"""The routes as they are mounted, on a real log: what is answered, booked and written, whatever is sent."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest

from tests.support.ingest import ADDRESS, BROWSER, Ingest
from visits.errors import LogUnavailableError
from visits.record import Ping, Tally, View
from visits.refusal import QUIET, Refusal
from visits.state import FOLD_VERSION, SCHEMA, Meta

SITES: dict[str, dict[str, object]] = {
    "demo": {},
    "listed": {"origins": ["https://portal.example"]},
    "closed": {"closed": "2026-01-01"},
    "stored": {"identity": "storage"},
}


@pytest.fixture(params=["direct", "asgi"])
async def ingest(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Ingest]:
    """The same laws hold whichever way a view comes."""
    made = Ingest(tmp_path, SITES, is_direct=request.param == "direct")
    await made.start()
    yield made
    await made.stop()


VIEW = {"site": "demo", "page": "/a"}


async def test_counted_after_the_log_has_it(ingest: Ingest) -> None:
    """A view is answered with its position and id, and stands in the log under them."""
    for content_type in ("text/plain;charset=UTF-8", "application/json", ""):
        answer = await ingest.post(VIEW, content_type=content_type)
        assert answer.status == 202
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["access-control-allow-origin"] == "*"
        record = (await ingest.records())[-1]
        position = f"0:{len(await ingest.records()) - 1}"
        assert answer.json == {"counted": True, "position": position, "id": record.id}
        assert isinstance(record, View)
        assert record.page == "/a"
        assert record.visitor is not None
        assert record.at == record.received


async def test_same_reader_same_pseudonym_and_none_who_asks(ingest: Ingest) -> None:
    """Address and browser make the pseudonym; DNT and GPC make none, and then `entry` is kept."""
    for headers in ({}, {}, {"user_agent": BROWSER + " x"}, {"dnt": "1"}, {"sec_gpc": "1"}):
        await ingest.post(VIEW | {"entry": True}, **headers)
    one, same, other, dnt, gpc = await ingest.records()
    for record in (one, same, other, dnt, gpc):
        assert isinstance(record, View)
    assert one.visitor == same.visitor != other.visitor  # type: ignore[union-attr]  # views, see above
    assert dnt.visitor is None is gpc.visitor  # type: ignore[union-attr]  # likewise
    assert [record.entry for record in (one, dnt)] == [False, True]  # type: ignore[union-attr]  # likewise


async def test_own_id_is_kept(ingest: Ingest) -> None:
    """The client's id is the record's, so that a second try is found to be one."""
    for _ in range(2):
        answer = await ingest.post(VIEW | {"id": "my-own-id_1"})
        assert answer.json["id"] == "my-own-id_1"


async def test_a_browser_is_given_an_id_to_keep(ingest: Ingest) -> None:
    """Where the site says so, and only to who can keep it: the view that asks is of the id that it gets."""
    asking = {"site": "stored", "page": "/a", "own": False}
    name = (await ingest.post(asking)).json["visitor"]
    assert len(name) >= 16
    again = await ingest.post(asking | {"visitor": name})
    assert "visitor" not in again.json
    for quiet in (
        {"site": "stored", "page": "/a"},
        VIEW | {"own": False},
        {"site": "stored", "kind": "ping", "own": False},
    ):
        assert "visitor" not in (await ingest.post(quiet)).json
    assert "visitor" not in (await ingest.post(asking, dnt="1")).json
    first, second, address, *_ = await ingest.records()
    assert isinstance(first, View)
    assert isinstance(second, View)
    assert isinstance(address, View)
    assert first.visitor == second.visitor != address.visitor


async def test_one_address_is_given_twenty_ids_an_hour(ingest: Ingest) -> None:
    """Further browsers of one address count as the address, and are asked again next time."""
    asking = {"site": "stored", "page": "/a", "own": False}
    told = ["visitor" in (await ingest.post(asking)).json for _ in range(22)]
    assert told == [True] * 20 + [False] * 2
    records = [record for record in await ingest.records() if isinstance(record, View)]
    assert len({record.visitor for record in records}) == 21


async def test_a_browser_forgets_where_the_site_no_longer_says_so(ingest: Ingest) -> None:
    """An id from before is not read, and the browser is told to drop it."""
    answer = await ingest.post(VIEW | {"own": False, "visitor": "a" * 22})
    assert answer.json["visitor"] == ""
    plain = await ingest.post(VIEW | {"visitor": "a" * 22})
    assert "visitor" not in plain.json
    one, other = await ingest.records()
    assert isinstance(one, View)
    assert isinstance(other, View)
    assert one.visitor == other.visitor


async def test_ping_is_written_and_not_counted(ingest: Ingest) -> None:
    """A ping stands in the log before it is answered, as what it is."""
    answer = await ingest.post({"site": "demo", "kind": "ping"})
    assert (answer.status, answer.json) == (202, {"counted": False, "reason": "ping"})
    assert isinstance((await ingest.records())[0], Ping)


CORPUS: list[tuple[bytes, Refusal]] = [
    (b"", Refusal.MALFORMED),
    (b"{", Refusal.MALFORMED),
    (b"null", Refusal.MALFORMED),
    (b"[]", Refusal.MALFORMED),
    (b'"demo"', Refusal.MALFORMED),
    (b"\x00", Refusal.MALFORMED),
    (b"\xff\xfe", Refusal.MALFORMED),
    (b"site=demo&page=/a", Refusal.MALFORMED),
    (b'{"site":"demo","page":NaN}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/a","x":NaN}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/a","x":-Infinity}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/\\ud800"}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/\xed\xa0\x80"}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/\xff"}', Refusal.MALFORMED),
    (b'{"site":"demo","page":5}', Refusal.MALFORMED),
    (b'{"site":5,"page":"/a"}', Refusal.MALFORMED),
    (b'{"site":null,"page":"/a"}', Refusal.MALFORMED),
    (b'{"page":"/a"}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/a","kind":"delta"}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/a","kind":"tally"}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/a","own":"yes"}', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/a"}x', Refusal.MALFORMED),
    (b'{"site":"demo","page":"/a","x":' + b"[" * 1900 + b"]" * 1900 + b"}", Refusal.MALFORMED),
    (b'{"site":"demo","page":' + b'{"a":' * 700, Refusal.MALFORMED),
    (b'{"site":"demo","page":"/' + b"a" * 4096 + b'"}', Refusal.TOO_LARGE),
    (b"[" * 1_000_000, Refusal.TOO_LARGE),
    (b'{"site":"","page":"/a"}', Refusal.UNKNOWN_SITE),
    (b'{"site":"nix","page":"/a"}', Refusal.UNKNOWN_SITE),
    (b'{"site":"DEMO","page":"/a"}', Refusal.UNKNOWN_SITE),
    (b'{"site":"demo\\u0000","page":"/a"}', Refusal.UNKNOWN_SITE),
    (b'{"site":"../demo","page":"/a"}', Refusal.UNKNOWN_SITE),
    (b'{"site":"closed","page":"/a"}', Refusal.CLOSED_SITE),
    (b'{"site":"demo"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":""}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"a"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"\\\\a"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"javascript:alert(1)"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"file:///etc/passwd"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"/a\\u0000"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"/a%00"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"/a\\r\\nSet-Cookie: x"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"/%c0%af"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"/%ed%a0%80"}', Refusal.BAD_PAGE),
    (b'{"site":"demo","page":"/a","id":""}', Refusal.BAD_ID),
    (b'{"site":"demo","page":"/a","id":"short"}', Refusal.BAD_ID),
    (b'{"site":"demo","page":"/a","id":"with space"}', Refusal.BAD_ID),
    (b'{"site":"demo","page":"/a","id":"' + b"a" * 65 + b'"}', Refusal.BAD_ID),
    (b'{"site":"demo","page":"/a","id":"\\u0000\\u0000\\u0000\\u0000abcd"}', Refusal.BAD_ID),
    (b'{"site":"demo","page":"/a","own":true}', Refusal.OWN),
]


async def test_bad_input_is_never_counted_and_always_has_a_reason(ingest: Ingest) -> None:
    """Never 5xx, never counted, always the reason, in answer and metric alike; a good view is counted after all."""
    expected: Counter[Refusal] = Counter()
    for body, reason in CORPUS:
        answer = await ingest.post(body)
        assert answer.status < 500, body[:80]
        assert answer.json["reason"] == reason, body[:80]
        assert answer.json.get("counted", False) is False
        if reason not in QUIET:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json["status"] == answer.status >= 400
            assert answer.json["detail"]
        expected[reason] += 1
    assert await ingest.records() == []
    for reason in Refusal:
        assert ingest.metric("refused_total", reason=reason.value) == expected[reason]
    assert (await ingest.post(VIEW)).json["counted"] is True
    received = sum(ingest.metric("received_total", kind=k) for k in ("view", "ping", "unreadable"))
    assert received == len(CORPUS) + 1
    assert ingest.metric("acknowledged_total") == 1


async def test_hostile_paths_that_are_paths_count(ingest: Ingest) -> None:
    """A strange path is no crime: it is counted under one canonical name, too long ones under (other)."""
    for page, name in (
        ("/../../etc/passwd", "/etc/passwd"),
        ("/a?b=<script>", "/a"),
        ("//evil.example/x", "/evil.example/x"),
        ("https://any.example", "/"),
        ("/" + "a" * 1500, "(other)"),
        ("/" + "%25" * 300, "/" + "%25" * 300),
    ):
        assert (await ingest.post(VIEW | {"page": page})).json["counted"] is True
        record = (await ingest.records())[-1]
        assert isinstance(record, View)
        assert record.page == name


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"user_agent": ""}, Refusal.BOT),
        ({"user_agent": "Mozilla/5.0 (compatible; bingbot/2.0)"}, Refusal.BOT),
        ({"user_agent": "python-requests/2.32"}, Refusal.BOT),
        ({"purpose": "prefetch"}, Refusal.PREFETCH),
        ({"sec_purpose": "prefetch;prerender"}, Refusal.PREFETCH),
        ({"x_purpose": "preview"}, Refusal.PREFETCH),
        ({"x_moz": "prefetch"}, Refusal.PREFETCH),
    ],
)
async def test_quiet_refusals(ingest: Ingest, headers: dict[str, str], reason: Refusal) -> None:
    """Programs and prefetches did nothing wrong: 202, with the reason."""
    answer = await ingest.post(VIEW, **headers)
    assert answer.status == 202
    assert answer.json["reason"] == reason
    assert answer.json["hint"]
    assert await ingest.records() == []


async def test_gif_decides_alike_and_is_always_an_image(ingest: Ingest) -> None:
    """The image tells in a header what became of it, and counts what a POST would."""
    for query, headers, status, told in (
        (b"site=demo&page=/a", {}, 200, "counted"),
        (b"site=demo&page=/a", {"user-agent": "curl/8"}, 200, "bot"),
        (b"site=listed&page=/a", {"referer": "https://evil.example/"}, 403, "origin"),
        (b"site=listed&page=/a", {"referer": "https://portal.example/x"}, 200, "counted"),
        (b"site=nix&page=/a", {}, 404, "unknown_site"),
        (b"site=demo", {}, 400, "bad_page"),
        (b"site=demo&page=%00", {}, 400, "bad_page"),
        (b"site=demo&page=%ff", {}, 400, "malformed"),
        (b"page=/a", {}, 400, "malformed"),
        (b"", {}, 400, "malformed"),
        (b"\xff", {}, 400, "malformed"),
        (b"&".join([b"a=1"] * 100), {}, 400, "malformed"),
        (b"site=demo&page=/" + b"a" * 5000, {}, 413, "too_large"),
    ):
        answer = await ingest.call("GET", "/v1/views.gif", headers=headers, query=query)
        assert (answer.status, answer.headers["x-visit-counter"]) == (status, told), query[:60]
        assert answer.headers["content-type"] == "image/gif"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.body.startswith(b"GIF89a")
    assert len(await ingest.records()) == 2


async def test_methods_and_preflight(ingest: Ingest) -> None:
    """Other methods are refused with a reason; the preflight allows what the widget does."""
    for method in ("GET", "PUT", "DELETE", "HEAD", "BREW"):
        answer = await ingest.call(method, "/v1/views")
        assert answer.status == 405
        assert "POST" in answer.headers["allow"]
    answer = await ingest.call("OPTIONS", "/v1/views", headers={"origin": "https://a.example"})
    assert answer.status == 204
    assert answer.headers["access-control-max-age"] == "86400"
    assert "POST" in answer.headers["access-control-allow-methods"]


async def test_a_token_that_is_wrong_is_told_what_is_asked_for(tmp_path: Path) -> None:
    """A 401 carries WWW-Authenticate (RFC 9110 section 11.6.1)."""
    made = Ingest(tmp_path, {"test": {"test": True, "tokens": ["sha256:" + "0" * 64]}})
    await made.start()
    answer = await made.post({"site": "test", "page": "/"}, authorization="Bearer nonsense")
    await made.stop()
    assert (answer.status, answer.json["reason"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_refusals_of_declared_sites_are_tallied(ingest: Ingest) -> None:
    """What a drained process refused stands in the log: views and tallies add up to what was received."""
    await ingest.post(VIEW)
    for _ in range(3):
        await ingest.post(VIEW, user_agent="curl/8")
    await ingest.post({"site": "listed", "page": "x"})
    await ingest.post({"site": "nix", "page": "/"})
    await ingest.part.drain()
    tallies = [record for record in await ingest.records() if isinstance(record, Tally)]
    assert {tally.site: tally.refused for tally in tallies} == {
        "demo": {"bot": 3},
        "listed": {"bad_page": 1},
    }
    await ingest.part.drain()
    assert len([record for record in await ingest.records() if isinstance(record, Tally)]) == 2


async def test_draining_refuses_and_counts_nothing(ingest: Ingest) -> None:
    """A stopping process takes nothing new and tells when to come again."""
    ingest.health.draining.set()
    answer = await ingest.post(VIEW)
    assert (answer.status, answer.json["reason"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert await ingest.records() == []


async def test_slow_body_is_refused(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not finish a body in time is told so."""
    monkeypatch.setattr("services.ingest.views.BODY_SECONDS_MAX", 0.05)
    messages: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/views"}
    scope |= {"headers": [], "client": None}
    await ingest.app(scope, receive, send)
    assert messages[0]["status"] == 408


async def test_no_address_and_no_browser_is_kept(ingest: Ingest) -> None:
    """Neither reaches the file, the metrics or the note for people."""
    secret = "Mozilla/5.0 (X11) A-Very-Rare-Browser/7.7"
    await ingest.post(VIEW, user_agent=secret)
    await ingest.post(VIEW | {"page": "bad"}, user_agent=secret)
    await ingest.part.drain()
    kept = b"".join(path.read_bytes() for path in ingest.file.parent.iterdir())
    kept += generate_latest(ingest.registry)
    assert b'"/a"' in kept
    assert b"Rare-Browser" not in kept
    assert ADDRESS.encode() not in kept


async def test_visitor_is_read_only_where_the_site_says_so(ingest: Ingest) -> None:
    """A browser's own id tells readers of one address apart where the site allows it, nowhere else."""
    for site in ("stored", "demo"):
        for name in ("a" * 16, "b" * 16, "short"):
            await ingest.post({"site": site, "page": "/", "visitor": name})
    seen = [record.visitor for record in await ingest.records() if isinstance(record, View)]
    assert len(set(seen[:3])) == 3, "two names and the address"
    assert len(set(seen[3:])) == 1
    assert b"aaaaaaaa" not in ingest.file.read_bytes()


async def test_log_away(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the log nothing is acknowledged: 503, not ready; once it answers, both are over."""

    async def away(*_arguments: object) -> int:
        raise LogUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(ingest.log, "append", away)
        answer = await ingest.post(VIEW)
        assert (answer.status, answer.json["reason"]) == (503, "unavailable")
        assert "unknown" in answer.json["detail"]
        assert "log" in ingest.health.obstacles
        assert ingest.metric("log_up") == 0
    assert (await ingest.post(VIEW)).json["counted"] is True
    assert "log" not in ingest.health.obstacles
    assert ingest.metric("log_up") == 1
    await ingest.part.drain()
    tallies = [record for record in await ingest.records() if isinstance(record, Tally)]
    assert tallies == [], "an unknown outcome is no refusal"


async def test_shared_address_is_noted(ingest: Ingest) -> None:
    """500 views of one address: people are told what to add, the metric shows it."""
    await asyncio.gather(*(ingest.post(VIEW) for _ in range(500)))
    assert ingest.metric("client_address_suspect") == 1
    assert f"{ADDRESS}/32" in ingest.health.notes["client_address"]


async def test_another_log_than_the_counted_one_takes_no_views(ingest: Ingest) -> None:
    """What would be acknowledged but not counted is refused, readiness names the mend, and the right log ends it."""
    log_id = await ingest.log.log_id()
    meta = Meta(SCHEMA, "the-log-before", 1, 60, FOLD_VERSION)
    await ingest.store.put_meta(meta)
    await ingest.part._check_meta()
    obstacle = ingest.health.obstacles["meta"]
    assert all(part in obstacle for part in (log_id, "the-log-before", "log.url", "rebuild"))
    answer = await ingest.post(VIEW)
    assert (answer.status, answer.json["reason"]) == (503, "unavailable")
    assert await ingest.records() == []
    right = msgspec.json.encode(msgspec.structs.replace(meta, log_id=log_id)).decode()
    with sqlite3.connect(ingest.file) as connection:
        connection.execute("UPDATE meta SET meta = ?", [right])
    connection.close()
    await ingest.part._check_meta()
    assert ingest.health.is_ready
    assert (await ingest.post(VIEW)).status == 202
