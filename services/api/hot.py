"""The short way of `/v1/sites/{site}/counters`: past FastAPI's parsing and middleware, from the cache in the process.

Only what is certain goes the short way: GET without `after`, a declared site, known values. All else, and every problem, goes to
the routes of `services/api/part.py`, which answer the same.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.reading import Readings, Rendered, has_tag
from services.runtime.problem import ProblemError
from visits.counters import Metric
from visits.window import Windows

PREFIX, SUFFIX = "/v1/sites/", "/counters"
QUERIES_MAX = 256
"""How many spellings of the query are remembered; more are parsed anew."""

_Query = tuple[Metric | None, Windows | None]


class HotCounters:
    """Answers counters from the cache, else calls the application."""

    def __init__(self, inner: ASGIApp, readings: Readings, count: Callable[[int], None]) -> None:
        """Call `inner` for all that is not certain, and `count` with the status of what is answered here."""
        self._inner = inner
        self._readings = readings
        self._count = count
        self._queries: dict[bytes, _Query | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        rendered = await self._find(scope) if scope["type"] == "http" else None
        if rendered is None:
            await self._inner(scope, receive, send)
            return
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
        start, body = rendered.start, rendered.body
        if known is not None and has_tag(known.decode("latin-1"), rendered.tag):
            start, body = rendered.start_not_modified, b""
        self._count(start["status"])
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _find(self, scope: Scope) -> Rendered | None:
        path: str = scope["path"]
        if scope["method"] != "GET" or not (path.startswith(PREFIX) and path.endswith(SUFFIX)):
            return None
        site = self._readings.configuration.sites.get(path[len(PREFIX) : -len(SUFFIX)])
        query = self._query(scope["query_string"])
        if site is None or query is None:
            return None
        metric, windows = query
        try:
            return await self._readings.rendered(
                site, metric or site.settings.metric, windows or site.settings.windows
            )
        except ProblemError:
            return None

    def _query(self, raw: bytes) -> _Query | None:
        """Return what a query asks for, `None` where it is for the long way to say."""
        if raw in self._queries:
            return self._queries[raw]
        if len(self._queries) >= QUERIES_MAX:
            self._queries.clear()
        found = self._queries[raw] = _parse(raw)
        return found


def _parse(raw: bytes) -> _Query | None:
    try:
        asked = dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=8))
        if not asked.keys() <= {"metric", "windows"}:
            return None
        return (
            Metric(asked["metric"]) if "metric" in asked else None,
            Windows(asked["windows"]) if "windows" in asked else None,
        )
    except ValueError:
        return None


def put_before_middleware(app: FastAPI, readings: Readings, count: Callable[[int], None]) -> None:
    """Let counters be answered before the middleware; called before the first request."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: HotCounters(build(), readings, count)  # type: ignore[method-assign]  # built once, at the first request
