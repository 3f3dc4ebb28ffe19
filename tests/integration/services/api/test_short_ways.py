"""The short ways on a real socket: counters answer what the routes answer, streams come, tell, and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from services.runtime.clock import now_ms
from services.runtime.direct_protocol import protocol_for
from tests.support.api import Api
from tests.support.logs import view
from tests.support.ports import LOOPBACK, free_port

COUNTERS, STREAM = "/v1/sites/demo/counters", "/v1/sites/demo/stream"
SECONDS_MAX = 10


class Portal:
    """An api that listens."""

    def __init__(self, api: Api, port: int) -> None:
        self.api = api
        self.port = port

    async def ask(
        self, path: str, *headers: str, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers without the date, and body."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(SECONDS_MAX):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        line, *rest = head.decode().split("\r\n")
        named = dict(text.lower().split(": ", 1) for text in rest)
        named.pop("date", None)
        return int(line.split()[1]), named, body

    async def follow(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Begin a stream and read its head."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(SECONDS_MAX):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/event-stream" in head
        return reader, writer

    def open_streams(self) -> float | None:
        return self.api.registry.get_sample_value("visit_counter_sse_clients")


@asynccontextmanager
async def listening(directory: Path, **server: object) -> AsyncIterator[Portal]:
    api = Api(directory, server=server)
    await api.log.open()
    await api.store.open()
    port = free_port()
    config = uvicorn.Config(
        api.app, http=protocol_for(api.app), host=LOOPBACK, port=port, log_config=None, server_header=False,
        lifespan="off", timeout_graceful_shutdown=3,
    )  # fmt: skip
    uvicorn_server = uvicorn.Server(config)
    task = asyncio.create_task(uvicorn_server._serve())
    await until(lambda: uvicorn_server.started)
    try:
        yield Portal(api, port)
    finally:
        api.health.draining.set()
        uvicorn_server.should_exit = True
        await asyncio.wait_for(task, SECONDS_MAX)
        await api.part.close()
        await api.store.close()
        await api.log.close()


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    async with listening(tmp_path, max_streams=3) as found:
        yield found


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not claim():  # noqa: ASYNC110  # some milliseconds
            await asyncio.sleep(0.01)


async def read_event(reader: asyncio.StreamReader, text: bytes) -> None:
    """Read up to an event that holds a text."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            seen = await reader.readuntil(b"\n\n")
            if text in seen:
                return


async def test_the_direct_way_answers_what_the_route_answers(portal: Portal) -> None:
    """Same status, headers and numbers, with and without a query, also 304 without a length."""
    await portal.api.count(view(now_ms(), id="event-0001", site="demo"))
    for query in ("", "?metric=views", "?windows=calendar&metric=visitors", "?unknown=x"):
        direct = await portal.ask(COUNTERS + query)
        usual = await portal.ask(COUNTERS + query, method="HEAD")
        assert len(direct[2]) == int(direct[1].pop("content-length"))
        usual[1].pop("content-length")  # `lag_seconds` may have more digits by now
        assert direct[:2] == usual[:2]
        status, headers, body = await portal.ask(
            COUNTERS + query, f"IF-NONE-MATCH: W/{direct[1]['etag']}"
        )
        assert (status, body) == (304, b"")
        assert "content-length" not in headers
        assert headers["etag"] == direct[1]["etag"]
    requests = portal.api.registry.get_sample_value(
        "visit_counter_api_requests_total", {"route": "counters", "status": "3xx"}
    )
    assert requests == 4


async def test_what_is_not_certain_goes_the_long_way(portal: Portal) -> None:
    """Problems are told by the routes, a store without numbers by 503 on either way."""
    assert (await portal.ask(COUNTERS))[0] == 503
    await portal.api.count(view(now_ms(), id="event-0001", site="demo"))
    assert (await portal.ask("/v1/sites/nobody/counters"))[0] == 404
    assert (await portal.ask(COUNTERS + "?metric=likes"))[0] == 400
    status, headers, body = await portal.ask(COUNTERS + "?after=0:0")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert b'"after":true' in body
    assert (await portal.ask(COUNTERS + "?x=" + "y" * 300))[0] == 200


async def test_a_stream_tells_changes(portal: Portal) -> None:
    """The numbers at once, then those that changed."""
    await portal.api.count(view(now_ms(), id="event-0001", site="demo"))
    reader, writer = await portal.follow()
    await read_event(reader, b'"total":1,')
    await portal.api.count(view(now_ms(), id="event-0002", site="demo", visitor="b" * 16))
    await read_event(reader, b'"total":2,')
    writer.close()


async def test_those_who_go_make_room(portal: Portal) -> None:
    """Over `max_streams` 503; whoever goes is counted no more, and the publisher ends with the last one."""
    await portal.api.count(view(now_ms(), id="event-0001", site="demo"))
    clients = [await portal.follow() for _ in range(3)]
    await until(lambda: portal.open_streams() == 3)
    status, headers, _ = await portal.ask(STREAM)
    assert (status, "retry-after" in headers) == (503, True)
    for _, writer in clients:
        writer.close()
    await until(lambda: portal.open_streams() == 0)
    await until(lambda: not portal.api.part._streams._publishers)
    reader, writer = await portal.follow()
    await read_event(reader, b'"total":1,')
    writer.close()


async def test_streams_end_when_the_process_drains(portal: Portal) -> None:
    """The body is complete, and nobody is left."""
    await portal.api.count(view(now_ms(), id="event-0001", site="demo"))
    reader, writer = await portal.follow()
    await read_event(reader, b'"total":1,')
    portal.api.health.draining.set()
    async with asyncio.timeout(SECONDS_MAX):
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
    await until(lambda: portal.open_streams() == 0)
    writer.close()


async def test_a_stream_of_a_site_that_is_taken_away_ends(portal: Portal) -> None:
    """The sites may be reloaded while somebody follows one."""
    await portal.api.count(view(now_ms(), id="event-0001", site="demo"))
    reader, writer = await portal.follow()
    await read_event(reader, b'"total":1,')
    portal.api.configuration.sites.replace({})
    async with asyncio.timeout(SECONDS_MAX):
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()
