"""One kept-alive HTTP/1.1 connection: one request at a time, its answer read by httptools, nothing allocated per header."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from services.load.target import Target

IDLE_NS_MAX = 2_000_000_000
"""A connection idle for longer is not used again: the server may be closing it, and a view sent into that would be of unknown outcome."""

CONNECT_SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""A longer answer ends the connection."""

Answered = Callable[["Connection", int, bytes], None]
Ended = Callable[["Connection", str], None]


class Connection(asyncio.Protocol):
    """Sends whole requests; tells `answered` of a whole answer, `ended` of its end.

    Attributes:
        number: the request under way; -1 while there is none.
        due_ns: when it was due (monotonic).
        sent_ns: when it was sent; with no request under way, when the last one was answered.
        bytes_sent, bytes_received: over its life.
    """

    def __init__(self, answered: Answered, ended: Ended) -> None:
        """Hear of answers and of the end by these."""
        self.number = -1
        self.due_ns = 0
        self.sent_ns = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self._answered = answered
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._why = ""

    @property
    def is_busy(self) -> bool:
        """Claim that a request is under way."""
        return self.number >= 0

    @property
    def is_reusable(self) -> bool:
        """Claim that it may carry another request."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, number: int, due_ns: int, sent_ns: int, request: bytes) -> None:
        """Send a request; the connection must be idle."""
        assert self._transport is not None
        assert self.number < 0
        self.number, self.due_ns, self.sent_ns = number, due_ns, sent_ns
        self._body = b""
        self.bytes_sent += len(request)
        self._transport.write(request)

    def end(self, why: str) -> None:
        """Cut the connection; what is under way ends for this reason."""
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open (asyncio)."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer (asyncio)."""
        self.bytes_received += len(data)
        if self.number < 0:
            self.end("unasked")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.end("no_http")

    def connection_lost(self, exc: Exception | None) -> None:
        """Be closed (asyncio)."""
        self._ended(self, self._why or ("closed" if exc is None else "reset"))

    def on_body(self, body: bytes) -> None:
        """Take a part of the body (httptools)."""
        self._body += body
        if len(self._body) > ANSWER_BYTES_MAX:
            self.end("too_large")

    def on_message_complete(self) -> None:
        """Hand on a whole answer (httptools)."""
        status = self._parser.get_status_code()
        if status < 200:  # noqa: PLR2004  # an interim answer: the real one follows (RFC 9110 section 15.2)
            return
        if not self._parser.should_keep_alive():
            self._why = self._why or "closed"
            assert self._transport is not None
            self._transport.close()
        self._answered(self, status, self._body)


async def connect(target: Target, answered: Answered, ended: Ended) -> Connection:
    """Open a connection.

    Raises:
        OSError: it cannot be had, or not within `CONNECT_SECONDS_MAX` (`TimeoutError`).
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS_MAX):
        _, connection = await loop.create_connection(
            lambda: Connection(answered, ended), target.host, target.port, ssl=target.tls()
        )
    return connection
