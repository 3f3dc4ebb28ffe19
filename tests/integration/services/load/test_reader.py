"""Reading over kept connections, against a server of this test."""

from __future__ import annotations

import asyncio

import pytest

from services.load.reader import Reader
from services.load.target import Target
from visits.errors import UnavailableError


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each path with itself, as JSON; `/hang-up` with nothing."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ")[1]
            if path == b"/hang-up":
                break
            body = b'"%b"' % path
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def test_everyone_gets_his_own_answer_however_many_ask_and_share_connections() -> None:
    """A connection is free for the next as soon as its answer is there, before the one who asked has looked at it."""
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        reader = Reader(Target("127.0.0.1", listening.sockets[0].getsockname()[1], "", False))

        async def ask(who: int) -> None:
            for number in range(50):
                assert await reader.get_json(f"/{who}/{number}") == f"/{who}/{number}"

        async with asyncio.timeout(9):  # below the time-out of one answer: one that is lost shows
            await asyncio.gather(*(ask(who) for who in range(100)))
        reader.close()


async def test_a_connection_that_ends_is_said_at_once() -> None:
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        reader = Reader(Target("127.0.0.1", listening.sockets[0].getsockname()[1], "", False))
        with pytest.raises(UnavailableError, match="does not answer"):
            await reader.get("/hang-up")
        assert await reader.get_json("/again") == "/again"
        reader.close()
