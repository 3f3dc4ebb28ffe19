"""The direct way of a hot route, as its handler sees it: one call with a whole request, one answer, sooner or later.

uvicorn makes of every request a scope, a task, an event and messages; a route that answers thousands of small requests a second
pays more for these than for its own work. `services/runtime/direct_protocol.py` calls such a route without them. Only what is usual
goes the direct way; for all else, and where there is no httptools, a direct route is an ASGI route as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol

from fastapi import FastAPI

Headers = list[tuple[bytes, bytes]]


class DirectRequest(Protocol):
    """A POST with its whole body, or a GET.

    Attributes:
        headers: names as they were sent, in any case.
        body: bounded by what is read from a connection at once.
        peer: the address at the other end of the connection; empty where it has none.
    """

    headers: Headers
    body: bytes
    peer: str

    def respond(self, head: bytes, body: bytes | None) -> None:
        """Answer, once; who went away is not told. Never raises.

        Args:
            head: as `head_of` makes it.
            body: whole; `None` where the status has none (304).
        """


Handler = Callable[[DirectRequest], None]
Finder = Callable[[bytes], Handler | None]


def head_of(status: int, headers: Headers) -> bytes:
    """Return status line and headers as they are sent, but for the length, the date and what the connection needs."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return line + b"".join(name + b": " + value + b"\r\n" for name, value in headers)


def add_direct_routes(app: FastAPI, routes: Mapping[bytes, Handler]) -> None:
    """Let POSTs to these URLs (a path, without query) go the direct way; called before the server starts."""
    app.state.direct_routes = {**direct_routes(app), **routes}


def direct_routes(app: FastAPI) -> dict[bytes, Handler]:
    """Return the direct routes of an application."""
    found: dict[bytes, Handler] = getattr(app.state, "direct_routes", {})
    return found


def add_direct_reader(app: FastAPI, find: Finder) -> None:
    """Let GETs of the URLs (path and query) that `find` knows a handler for go the direct way; called before the server starts."""
    app.state.direct_reader = find


def direct_reader(app: FastAPI) -> Finder:
    """Return the finder of an application; one that knows no URL where there is none."""
    found: Finder = getattr(app.state, "direct_reader", _find_nothing)
    return found


def _find_nothing(_url: bytes) -> Handler | None:
    return None
