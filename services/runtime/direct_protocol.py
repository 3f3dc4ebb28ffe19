"""uvicorn's HTTP protocol with a direct way for hot routes (`services/runtime/direct.py`).

A request goes the direct way when it is a POST to a direct route or a GET of one, complete with what was just read, with nothing before it
unanswered and nothing that the client has not read yet. Everything else goes uvicorn's way, with its time-outs, limits and order
of answers. This class looks at fields of `HttpToolsProtocol`; `tests/integration/test_direct_protocol.py` holds both ways against
each other on a real socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.runtime.direct import (
    Finder,
    Handler,
    Headers,
    direct_reader,
    direct_routes,
    head_of,
)
from services.runtime.open_files import connections_max
from services.runtime.problem import PROBLEM_TYPE, RETRY_AFTER_SECONDS, problem_body

log = structlog.get_logger()

HEAD_BYTES_MAX = 32 * 1024
"""Of a request's line and headers together; nginx takes 4 buffers of 8 KiB. The parser by itself takes any number."""

HEAD_SECONDS = 10.0
"""How long a connection may stand open without the whole head of a request; between requests uvicorn's keep-alive holds."""

SPARE_CONNECTIONS = 64
"""Beyond the greatest number of connections, for those who ask for health and metrics: a crowd is no reason for a restart."""

HEALTH_PATHS = frozenset({b"/livez", b"/readyz", b"/readyz?verbose", b"/metrics"})
"""What is answered on spare connections."""

_UNHEARD = asyncio.Event()
"""What uvicorn sets for an application that waits for more of a body: here nobody does."""


_LONG_HEAD = f"line and headers of a request are longer than {HEAD_BYTES_MAX} bytes"
_HEAD_400 = head_of(400, [(b"content-type", PROBLEM_TYPE.encode())])

_CROWDED = "as many connections are open as this process takes: come again in some seconds"
_HEAD_503 = head_of(
    503,
    [
        (b"content-type", PROBLEM_TYPE.encode()),
        (b"access-control-allow-origin", b"*"),
        (b"cache-control", b"no-store"),
        (b"retry-after", str(RETRY_AFTER_SECONDS).encode()),
    ],
)


class _Cycle:
    """A request on the direct way; in uvicorn's eyes the connection's current cycle, for whose answer later ones wait."""

    __slots__ = (
        "_protocol",
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "message_event",
        "peer",
        "response_complete",
    )

    def __init__(self, protocol: DirectProtocol, body: bytes) -> None:
        self._protocol = protocol
        self.headers: Headers = protocol.headers
        self.body = body
        self.peer = protocol.client[0] if protocol.client else ""
        parser = protocol.parser
        self.keep_alive = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        self.disconnected = False
        self.response_complete = False
        self.message_event = _UNHEARD

    def respond(self, head: bytes, body: bytes | None) -> None:
        """Answer in one write."""
        protocol = self._protocol
        self.response_complete = True
        if self.disconnected or protocol.transport.is_closing():
            return
        # A 304 says no length: it would be that of the answer it stands for (RFC 9110 section 8.6).
        length = b"" if body is None else b"content-length: %d\r\n" % len(body)
        if not self.keep_alive:
            length += b"connection: close\r\n"
        parts = (head, protocol.common_head(), length, b"\r\n", body or b"")
        protocol.transport.write(b"".join(parts))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


class DirectProtocol(HttpToolsProtocol):
    """One connection."""

    routes: Mapping[bytes, Handler] = {}
    find_reader: Finder
    connections_max: int
    """Both set by `protocol_for`, for an application."""

    _is_over = False
    """This connection is a spare one."""
    _common_head: tuple[Headers | None, bytes] = (None, b"")
    _handler: Handler | None = None
    """Of the message being parsed, while it is on the direct way."""
    _body = b""
    _is_in_head = False
    _bytes_since_head = 0
    """Received since the last complete head: an upper bound of the head that is under way."""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for a first request, for so long and no longer."""
        super().connection_made(transport)
        over = len(self.connections) - self.connections_max
        self._is_over = over > 0
        if over > SPARE_CONNECTIONS:
            self._close_with(_HEAD_503, problem_body(503, "unavailable", _CROWDED))
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; a message that is not complete by then goes the usual way."""
        self._bytes_since_head += len(data)
        super().data_received(data)
        if self._handler is not None:
            self._go_usual_way()
        elif self._is_in_head and not self.transport.is_closing():
            if self._bytes_since_head > HEAD_BYTES_MAX:
                self.send_400_response(_LONG_HEAD)
            elif self._head_timer is None:
                self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, by a problem document as all else; nothing of it goes any way, nor what follows it."""
        self._handler = None
        self._is_in_head = False
        if self.transport.is_closing():
            return
        self._close_with(_HEAD_400, problem_body(400, "malformed", msg))

    def on_message_begin(self) -> None:
        """Begin a message; uvicorn's scope is made only for the usual way."""
        self.url = b""
        self.headers = []
        self._is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header as it is; there are a dozen and more in a request, and most matter to nobody."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Choose the way.

        Raises:
            ValueError: the head is too long, or this is one connection too many; the parser stops, and the request is refused.
        """
        self._is_in_head = False
        if self._head_timer is not None:
            self._stop_timer()
        if self._bytes_since_head > HEAD_BYTES_MAX and self._head_bytes() > HEAD_BYTES_MAX:
            raise ValueError(_LONG_HEAD)
        self._bytes_since_head = 0
        if self._is_over and self.url not in HEALTH_PATHS:
            self._close_with(_HEAD_503, problem_body(503, "unavailable", _CROWDED))
            raise ValueError(_CROWDED)
        method = self.parser.get_method()
        handler = None
        if method == b"POST":
            handler = self.routes.get(self.url)
        elif method == b"GET":
            handler = self.find_reader(self.url)
        if handler is not None and self._is_usual():
            self._handler = handler
        else:
            self._begin_usual_way()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._handler is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Hand a complete message to its handler."""
        handler = self._handler
        if handler is None:
            super().on_message_complete()
            return
        request = _Cycle(self, self._body)
        self._handler, self._body = None, b""
        self.cycle = request  # type: ignore[assignment]  # as much of a cycle as this class looks at
        try:
            handler(request)
        except Exception:  # told and answered, as uvicorn does for an application
            log.exception("a direct route failed")
            request.keep_alive = False
            request.respond(head_of(500, []), b"")

    def common_head(self) -> bytes:
        """Return the headers that every response has; uvicorn makes their list anew each second, for the date."""
        headers = self.server_state.default_headers
        known, text = DirectProtocol._common_head
        if known is not headers:
            text = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            DirectProtocol._common_head = (headers, text)
        return text

    def _close_with(self, head: bytes, body: bytes) -> None:
        length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(b"".join((head, self.common_head(), length, body)))
        self.transport.close()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up_head)

    def _give_up_head(self) -> None:
        """Close a connection on which no request becomes complete."""
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _is_usual(self) -> bool:
        return (
            self._is_answered() and not self.flow.write_paused and not self.parser.should_upgrade()
        )

    def _is_answered(self) -> bool:
        cycle: object = self.cycle
        return cycle is None or self.cycle.response_complete

    def _go_usual_way(self) -> None:
        """Hand the message being parsed to uvicorn, with what has come of its body."""
        body = self._body
        self._handler, self._body = None, b""
        self._begin_usual_way()
        if body:
            super().on_body(body)

    def _begin_usual_way(self) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()


def protocol_for(app: FastAPI) -> type[DirectProtocol]:
    """Return the protocol of an application's server."""
    of_application = {
        "routes": direct_routes(app),
        "find_reader": staticmethod(direct_reader(app)),
        "connections_max": connections_max(),
    }
    return type("ApplicationProtocol", (DirectProtocol,), of_application)
