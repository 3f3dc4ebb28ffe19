"""Bad input over a real socket: never a 5xx, never a count, never the end of a service, and every answer with its reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from services.cli.option import configuration
from services.runtime.backend import Backends, make_backends
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.load import HUMAN
from tests.support.ports import LOOPBACK
from tests.support.process import http_get
from tests.support.redis import RedisServer
from tests.support.visit_counter import Service, write_config
from visits.partition import partition_of

SITE, FORGED = "a", "forged"
SITES: dict[str, dict[str, object]] = {
    SITE: {"origins": ["https://a.example"]},
    FORGED: {},
    "closed": {"closed": "2026-01-01"},
}
BURST = 120
SERVER = {"rate_limit_per_second": 0.001, "rate_limit_burst": BURST}
ANSWER_SECONDS = 20.0
BOOKED = frozenset({"bot", "prefetch", "own", "ping", "bad_page", "bad_id", "origin", "rate_limit"})
"""Reasons that are a declared site's, and stand in its books; of the others no site is known."""

BOOKS_SECONDS = 30.0


class Bad(NamedTuple):
    """One request that is no view, and what it is told; without a reason the connection may simply end."""

    name: str
    raw: bytes
    status: int
    reason: str


def post(body: bytes, *headers: str, agent: str = HUMAN, length: int | None = None) -> bytes:
    """Return a POST of a view as it goes over the wire."""
    lines = [
        "POST /v1/views HTTP/1.1",
        f"Host: {LOOPBACK}",
        f"User-Agent: {agent}",
        *headers,
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def paged(page: str, **values: object) -> bytes:
    """Return the body of a view."""
    return json.dumps({"site": SITE, "page": page, **values}).encode()


def bodies() -> Iterator[Bad]:
    """Yield bodies that are no view."""
    good = paged("/x").decode()
    malformed = {
        "empty": b"",
        "cut off": good[:-4].encode(),
        "two objects": (good * 2).encode(),
        "list": b"[]",
        "null": b"null",
        "text": b'"a"',
        "form": b"site=a&page=/x",
        "no site": b'{"page":"/x"}',
        "site as number": b'{"site":1,"page":"/x"}',
        "NaN": b'{"site":"a","page":"/x","entry":NaN}',
        "Infinity": b'{"site":"a","page":"/x","entry":-Infinity}',
        "lone surrogate": b'{"site":"a","page":"/\\ud800"}',
        "not UTF-8": b'{"site":"a","page":"/\xff\xfe"}',
        "NUL in the text": b'{"site":"a","page":"/\x00"}',
        "UTF-16": good.encode("utf-16"),
        "deep list": b'{"site":"a","page":"/x","more":' + b"[" * 4000,
        "deep object": b'{"more":' * 500,
        "long number": b'{"site":"a","page":"/x","entry":' + b"9" * 4000 + b"}",
        "unknown kind": b'{"site":"a","page":"/x","kind":"click"}',
    }
    for name, body in malformed.items():
        yield Bad(name, post(body), 400, "malformed")
    yield Bad("large", post(b" " * 5000), 413, "too_large")
    yield Bad("a gigabyte declared", post(b"", length=1 << 30), 413, "too_large")
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    head = post(b"", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    yield Bad("endless chunks", head + chunk * 64, 413, "too_large")
    yield Bad("longer than declared", post(paged("/x"), length=9), 400, "malformed")
    yield Bad("never comes", post(b"{", length=60), 408, "too_slow")
    yield Bad("wrong method", post(b"").replace(b"POST", b"PUT", 1), 405, "method")


def requests_of_a_site() -> Iterator[Bad]:
    """Yield views that a rule refuses."""
    pages = {
        "no path": "tin-tuc",
        "nothing": "",
        "script": "javascript:alert(1)",
        "data": "data:text/html,x",
        "file": "file:///etc/passwd",
        "NUL": "/\x00",
        "escaped NUL": "/%00",
        "line break": "/a\r\nSet-Cookie: x=1",
        "escaped line break": "/a%0d%0aX: 1",
        "escaped junk": "/%ff%fe",
        "half an escape": "/%e1%ba",
        "control": "/\u0085",
    }
    for name, page in pages.items():
        yield Bad(f"page: {name}", post(paged(page)), 400, "bad_page")
    for number, odd in enumerate(
        ["short", "x" * 65, "white space in it", "../../etc", "id\x00id\x00"]
    ):
        yield Bad(f"id {number}", post(paged("/x", id=odd)), 400, "bad_id")
    for site in ("other", "A", "../../a", "a\x00", "x" * 2000):
        yield Bad(f"site {site[:9]!r}", post(paged("/x").replace(b'"a"', json.dumps(site).encode())), 404, "unknown_site")  # fmt: skip
    yield Bad("closed site", post(paged("/x").replace(b'"a"', b'"closed"')), 404, "closed_site")
    for agent in ("Googlebot/2.1 (+http://www.google.com/bot.html)", "curl/8.5.0", ""):
        yield Bad(f"agent {agent[:9]!r}", post(paged("/x"), agent=agent), 202, "bot")
    yield Bad("prefetch", post(paged("/x"), "Sec-Purpose: prefetch;prerender"), 202, "prefetch")
    yield Bad("own", post(paged("/x", own=True)), 202, "own")
    yield Bad("ping", post(paged("/x", kind="ping")), 202, "ping")
    for origin in ("https://evil.example", "null", "https://a.example.evil.example", "\xff"):
        yield Bad(f"origin {origin[:20]!r}", post(paged("/x"), f"Origin: {origin}"), 403, "origin")
    yield Bad("referer", post(paged("/x"), "Referer: https://evil.example/a"), 403, "origin")


def framings() -> Iterator[Bad]:
    """Yield what is no HTTP, or two readings of it."""
    view = paged("/x")
    good = post(view)
    raws = {
        "two lengths": good.replace(b"Content-Length", b"Content-Length: 3\r\nContent-Length", 1),
        "length and chunks": good.replace(
            b"Connection", b"Transfer-Encoding: chunked\r\nConnection"
        ),
        "negative length": post(view, length=-5),
        "length in words": good.replace(b"Content-Length: ", b"Content-Length: 0x"),
        "chunk of no size": post(b"zz\r\n" + view, "Transfer-Encoding: chunked").replace(
            b"Content-Length: %d\r\n" % (len(view) + 4), b""
        ),
        "blank before the colon": good.replace(b"Content-Length:", b"Content-Length :"),
        "NUL in a header": good.replace(b"Host: ", b"Host: \x00"),
        "header without a name": good.replace(b"Host:", b":"),
        "version 9": good.replace(b"HTTP/1.1", b"HTTP/9.9"),
        "no method": good.replace(b"POST", b"P\x00ST", 1),
        "junk": bytes(range(256)),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        "headers without end": good.replace(b"Host:", b"X: " + b"x" * 200_000 + b"\r\nHost:"),
        "many headers": good.replace(b"Host:", b"X-Y: z\r\n" * 20_000 + b"Host:"),
        "long target": good.replace(b"/v1/views", b"/v1/views?" + b"x" * 200_000),
    }
    for name, raw in raws.items():
        yield Bad(name, raw, 400, "malformed")


def exchange(port: int, raw: bytes) -> tuple[int, dict[str, object]]:
    """Send bytes on a connection of their own and read until the end; status 0 where nothing came."""
    with socket.create_connection((LOOPBACK, port), timeout=ANSWER_SECONDS) as connection:
        answer = bytearray()
        # Refused before it was all sent, the answer may be there all the same.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(raw)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    if not head:
        return 0, {}
    found = json.loads(body[: body.rindex(b"}") + 1].split(b"HTTP/1.1")[0]) if b"{" in body else {}
    return int(head.split()[1]), found


async def refused_by_metric(service: Service) -> Counter[str]:
    """Return reason → how many."""
    samples = await asyncio.to_thread(service.metrics)
    return Counter(
        {
            sample.labels["reason"]: int(sample.value)
            for sample in samples
            if sample.name == "visit_counter_refused_total" and sample.value
        }
    )


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.integration)])
def up(
    request: pytest.FixtureRequest, tmp_path: Path, topic: str, start_service: StartService
) -> Service:
    """All three services in one process, on each pair."""
    if request.param == "sqlite":
        log_url = store_url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    else:
        kafka: KafkaCluster = request.getfixturevalue("kafka")
        redis: RedisServer = request.getfixturevalue("redis_server")
        log_url, store_url = kafka.url(topic), redis.url
    config = write_config(tmp_path / "visit-counter.toml", log_url, store_url, SITES, server=SERVER)
    return start_service("up", config)


async def test_bad_input_is_refused_with_a_reason_and_counts_nothing(
    up: Service, tmp_path: Path
) -> None:
    """Every answer names its reason; metrics and the site's books have as many; the numbers stay 0 and the service alive."""
    cases = [*bodies(), *requests_of_a_site()]
    assert (await exchange_of(up, post(paged("/first")))) == (202, None)
    answers = await asyncio.gather(*(exchange_of(up, case.raw) for case in cases))
    framed = list(framings())
    answers += [await exchange_of(up, case.raw) for case in framed]
    odd = {
        case.name: answer
        for case, answer in zip([*cases, *framed], answers, strict=True)
        if answer != (case.status, case.reason)
    }
    assert not odd
    assert up.is_running
    told = Counter(case.reason for case in cases)
    metrics = await refused_by_metric(up)
    # What is no HTTP never became a request; what comes after a body that was longer than declared neither.
    assert metrics == told
    assert (await exchange_of(up, post(paged("/last")))) == (202, None)
    backends = make_backends(configuration(tmp_path / "visit-counter.toml"), exclusive=False)
    await backends.open()
    try:
        of_sites = {reason: n for reason, n in told.items() if reason in BOOKED}
        found = await books(backends, of_sites)
        assert found == {"counted": 2, **of_sites}
    finally:
        await backends.close()
    _, body = await asyncio.to_thread(
        http_get, f"{up.base_url}/v1/sites/{SITE}/pages?page=/first&page=/last&page=/x"
    )
    assert json.loads(body)["pages"] == {"/first": 1, "/last": 1, "/x": 0}
    assert "Traceback" not in up.output()


async def test_connections_without_a_request_are_closed(
    tmp_path: Path, start_service: StartService
) -> None:
    """A silent one, half a head, and half of a second head: each is closed, and others are served meanwhile."""
    url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    up = start_service("up", write_config(tmp_path / "visit-counter.toml", url, url, SITES))
    whole = post(paged("/x")).replace(b"Connection: close", b"Connection: keep-alive")
    waiting = [
        asyncio.create_task(exchange_of(up, raw))
        for raw in (b"", b"POST /v1/views HTTP/1.1\r\nHost: x\r\nX-Slow: ", whole + whole[:60])
    ]
    assert await exchange_of(up, post(paged("/y"))) == (202, None)
    assert await asyncio.gather(*waiting) == [(0, None), (0, None), (202, None)]
    assert up.is_running


async def test_forged_addresses_make_nobody_new(up: Service, tmp_path: Path) -> None:
    """Without trusted proxies no header changes who a reader is: one visitor, one rate limit."""
    body = paged("/x").replace(b'"a"', b'"forged"')
    answers = Counter(
        [
            await exchange_of(up, post(body, f"{name}: {value}"))
            for name, value in forged_addresses()
        ]
    )
    sent = answers.total()
    assert answers == {(202, None): BURST, (429, "rate_limit"): sent - BURST}
    backends = make_backends(configuration(tmp_path / "visit-counter.toml"), exclusive=False)
    await backends.open()
    try:
        found = await books(backends, {"rate_limit": sent - BURST}, FORGED)
        assert found == {"counted": BURST, "rate_limit": sent - BURST}
        partition = partition_of(FORGED, backends.log.partitions)
        reading = await backends.store.read_counters(partition, FORGED, ["v", "s", "p"], 0, 1 << 43)
        assert reading is not None
        assert (*reading.values, reading.online) == (BURST, 1, 1, 1)
    finally:
        await backends.close()


def forged_addresses() -> Iterator[tuple[str, str]]:
    """Yield headers by which a client may claim to be somebody else."""
    names = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP")
    for number in range(30):
        address = f"203.0.113.{number + 1}"
        for name in names:
            value = f"for={address};proto=https" if name == "Forwarded" else address
            yield name, value
    for odd in ("", ",,,", "::1", "127.0.0.1, 127.0.0.1", "not an address", "1" * 5000, "\xff"):
        yield "X-Forwarded-For", odd


async def exchange_of(service: Service, raw: bytes) -> tuple[int, str | None]:
    """Return status and reason of an answer."""
    status, answer = await asyncio.to_thread(exchange, service.port, raw)
    reason = answer.get("reason")
    return status, None if reason is None else str(reason)


async def books(backends: Backends, wanted: dict[str, int], site: str = SITE) -> dict[str, int]:
    """Wait until the refusals that are wanted stand in the books, then return these without their days."""
    partition = partition_of(site, backends.log.partitions)
    found: dict[str, int] = {}
    async with asyncio.timeout(BOOKS_SECONDS):
        while any(found.get(reason, 0) < n for reason, n in wanted.items()):
            await asyncio.sleep(0.2)
            found = await backends.store.read_books(partition, site)
    return {name: n for name, n in found.items() if ":" not in name}
