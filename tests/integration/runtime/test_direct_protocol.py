"""The direct way and uvicorn's way on a real socket: which requests take which, and that a client cannot tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from services.runtime.direct import DirectRequest, add_direct_routes, head_of
from services.runtime.direct_protocol import SPARE_CONNECTIONS, protocol_for
from tests.support.ports import LOOPBACK, free_port

HEAD = head_of(202, [(b"x-way", b"direct")])
SECONDS_MAX = 10


@dataclass
class Site:
    """A server with one direct route, `/hot`, that answers the body and, on demand, later or never."""

    port: int
    server: uvicorn.Server
    direct: int = 0
    usual: int = 0
    held: list[DirectRequest] = field(default_factory=list)
    padding: bytes = b""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def handle(self, request: DirectRequest) -> None:
        self.direct += 1
        if request.body == b"fail":
            raise ValueError("a bug")
        if request.body == b"hold":
            self.held.append(request)
        else:
            request.respond(HEAD, request.body + self.padding)

    async def live(self) -> Response:
        return Response()

    async def handle_usual(self, request: Request) -> Response:
        self.usual += 1
        return Response(await request.body() + self.padding, 202, {"x-way": "usual"})

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        self.writers.append(writer)
        return reader, writer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as found:
        yield found


@asynccontextmanager
async def serving(
    *, keep_alive_seconds: int = 30, connections_max: int = 1_000
) -> AsyncIterator[Site]:
    app = FastAPI()
    port = free_port()
    found = Site(port, None)  # type: ignore[arg-type]  # set below
    add_direct_routes(app, {b"/hot": found.handle})
    app.add_api_route("/livez", found.live, methods=["GET"])
    app.add_api_route("/hot", found.handle_usual, methods=["GET", "POST", "OPTIONS"])
    config = uvicorn.Config(
        app,
        http=type("Protocol", (protocol_for(app),), {"connections_max": connections_max}),
        host=LOOPBACK,
        port=port,
        log_config=None,
        server_header=False,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=3,
        lifespan="off",
    )
    found.server = uvicorn.Server(config)
    task = asyncio.create_task(found.server._serve())
    while not found.server.started:  # noqa: ASYNC110  # some milliseconds
        await asyncio.sleep(0.01)
    try:
        yield found
    finally:
        for writer in found.writers:
            writer.close()
        found.server.should_exit = True
        await asyncio.wait_for(task, SECONDS_MAX)


def post(body: bytes, *headers: bytes, version: bytes = b"1.1", url: bytes = b"/hot") -> bytes:
    lines = [b"POST %s HTTP/%s" % (url, version), b"Host: x", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers, b"", body])


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(SECONDS_MAX):
        raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = raw.strip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (text.partition(": ") for text in rest)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(line.split()[1]), headers, body


async def test_a_whole_post_goes_the_direct_way(site: Site) -> None:
    """Twice on one connection; the answer is complete HTTP with a date, and says nothing of closing."""
    reader, writer = await site.connect()
    for body in (b"one", b"two"):
        writer.write(post(body))
        status, headers, answered = await read_answer(reader)
        assert (status, headers["x-way"], answered) == (202, "direct", body)
        assert "date" in headers
        assert "connection" not in headers


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_a_body_in_pieces_goes_the_usual_way(site: Site, size: int) -> None:
    """However the request is cut, its body arrives whole; the next one goes the direct way again."""
    reader, writer = await site.connect()
    sent = post(b"in more than one piece")
    for start in range(0, len(sent), size):
        writer.write(sent[start : start + size])
        await asyncio.sleep(0.002)
    status, headers, answered = await read_answer(reader)
    assert (status, headers["x-way"], answered) == (202, "usual", b"in more than one piece")
    writer.write(post(b"whole"))
    assert (await read_answer(reader))[1]["x-way"] == "direct"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /hot HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS /hot HTTP/1.1\r\nHost: x\r\n\r\n",
        post(b"", url=b"/hot?a=b"),
        post(b"", b"Connection: upgrade", b"Upgrade: websocket"),
    ],
)
async def test_what_is_unusual_goes_the_usual_way(site: Site, sent: bytes) -> None:
    """Other methods, queries and upgrades are not the direct route's business."""
    reader, writer = await site.connect()
    writer.write(sent)
    assert (await read_answer(reader))[1].get("x-way") == "usual"
    assert site.direct == 0


async def test_a_client_that_asks_first_is_told_to_go_on(site: Site) -> None:
    """Expect: 100-continue is answered by uvicorn (RFC 9110 section 10.1.1)."""
    reader, writer = await site.connect()
    writer.write(
        b"POST /hot HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await read_answer(reader))[0] == 100
    writer.write(b"ab")
    assert (await read_answer(reader))[2] == b"ab"


async def test_answers_keep_the_order_of_requests(site: Site) -> None:
    """What comes before the answer to the one before waits for it, whichever way it goes."""
    reader, writer = await site.connect()
    writer.write(post(b"hold") + post(b"second") + b"GET /hot HTTP/1.1\r\nHost: x\r\n\r\n")
    while not site.held:  # noqa: ASYNC110  # some milliseconds
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert site.usual == 0
    site.held[0].respond(HEAD, b"first")
    answers = [await read_answer(reader) for _ in range(3)]
    assert [(answer[1]["x-way"], answer[2]) for answer in answers] == [
        ("direct", b"first"),
        ("usual", b"second"),
        ("usual", b""),
    ]


@pytest.mark.parametrize(
    "sent", [post(b"last", b"Connection: close"), post(b"last", version=b"1.0")]
)
async def test_a_connection_that_is_not_kept_is_closed(site: Site, sent: bytes) -> None:
    """After the answer, which says so."""
    reader, writer = await site.connect()
    writer.write(sent)
    _status, headers, body = await read_answer(reader)
    assert (headers["connection"], body) == ("close", b"last")
    assert await asyncio.wait_for(reader.read(), SECONDS_MAX) == b""


async def test_a_client_that_went_away_is_not_answered(site: Site) -> None:
    """The answer goes nowhere, and the server goes on."""
    _reader, writer = await site.connect()
    writer.write(post(b"hold"))
    while not site.held:  # noqa: ASYNC110  # some milliseconds
        await asyncio.sleep(0.001)
    writer.close()
    while site.server.server_state.connections:  # noqa: ASYNC110  # some milliseconds
        await asyncio.sleep(0.001)
    site.held[0].respond(HEAD, b"nobody")
    reader, writer = await site.connect()
    writer.write(post(b"next"))
    assert (await read_answer(reader))[2] == b"next"


async def test_a_failing_handler_is_an_error_of_the_server(site: Site) -> None:
    """500, and the connection ends."""
    reader, writer = await site.connect()
    writer.write(post(b"fail"))
    assert (await read_answer(reader))[0] == 500
    assert await asyncio.wait_for(reader.read(), SECONDS_MAX) == b""


@pytest.mark.parametrize("before", [b"", post(b"one")])
async def test_what_is_no_http_is_refused(site: Site, before: bytes) -> None:
    """400, and the connection ends."""
    reader, writer = await site.connect()
    if before:
        writer.write(before)
        await read_answer(reader)
    writer.write(b"POST /hot HTTP/1.1\r\nContent-Length: 3\r\nbad header\r\n\r\nabc")
    assert (await read_answer(reader))[0] == 400
    assert await asyncio.wait_for(reader.read(), SECONDS_MAX) == b""


async def test_answers_that_nobody_reads_do_not_pile_up(site: Site) -> None:
    """A client that sends on and reads nothing is served no further than its buffers go; what it reads later is whole."""
    count = 400
    site.padding = b"x" * 100_000
    reader, writer = await site.connect()
    for number in range(count):
        writer.write(post(b"%d" % number))
    await asyncio.sleep(0.5)
    assert site.direct + site.usual < count
    for number in range(count):
        body = (await read_answer(reader))[2]
        assert body.rstrip(b"x") == b"%d" % number


async def test_a_stopping_server_answers_first(site: Site) -> None:
    """What is under way when the server stops is answered, then the connection ends."""
    reader, writer = await site.connect()
    writer.write(post(b"hold"))
    while not site.held:  # noqa: ASYNC110  # some milliseconds
        await asyncio.sleep(0.001)
    site.server.should_exit = True
    await asyncio.sleep(0.3)
    site.held[0].respond(HEAD, b"done")
    _status, headers, body = await read_answer(reader)
    assert (headers["connection"], body) == ("close", b"done")


async def test_an_idle_connection_is_closed() -> None:
    """After a direct answer too."""
    async with serving(keep_alive_seconds=1) as site:
        reader, writer = await site.connect()
        writer.write(post(b"one"))
        assert (await read_answer(reader))[1]["x-way"] == "direct"
        assert await asyncio.wait_for(reader.read(), SECONDS_MAX) == b""


@pytest.mark.parametrize("sent", [post(b"x"), b"GET /hot HTTP/1.1\r\nHost: a\r\n\r\n"])
async def test_one_connection_too_many_is_refused(sent: bytes) -> None:
    """Those that are open go on, health is answered, and there is room again when one is closed."""
    async with serving(connections_max=1) as site:
        reader, writer = await site.connect()
        writer.write(post(b"first"))
        assert (await read_answer(reader))[0] == 202
        spare, to_spare = await site.connect()
        to_spare.write(sent)
        status, headers, body = await read_answer(spare)
        assert (status, headers["retry-after"]) == (503, "1")
        assert b"as many connections are open" in body
        assert await spare.read() == b""
        spare, to_spare = await site.connect()
        to_spare.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_answer(spare))[0] == 200
        to_spare.close()
        writer.write(post(b"second"))
        assert (await read_answer(reader))[2] == b"second"
        writer.close()
        await writer.wait_closed()
        assert site.direct == 2


async def test_far_too_many_connections_are_refused_unasked() -> None:
    """Beyond the spare ones nobody is listened to; the refusal comes before a request."""
    async with serving(connections_max=0) as site:
        held = [await site.connect() for _ in range(SPARE_CONNECTIONS)]
        reader, _ = await site.connect()
        assert (await read_answer(reader))[0] == 503
        assert await reader.read() == b""
        for _, writer in held:
            writer.close()
