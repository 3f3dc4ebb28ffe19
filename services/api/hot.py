"""The short way of `/v1/sites/{site}/counters` and `/stream`: past FastAPI's parsing and middleware, from the cache in the process.

Only what is certain goes the short way: GET without `after`, a declared site, known values, room for a stream. All else, and every
problem, goes to the routes of `services/api/counters.py`, which answer the same.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.metrics import ApiMetrics
from services.api.reading import Key, Readings, has_tag
from services.api.stream import Streams
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.counters import Metric
from visits.window import Windows

PREFIX, COUNTERS, STREAM = "/v1/sites/", "/counters", "/stream"
QUERIES_MAX = 256
"""How many spellings of the query are remembered; more are parsed anew."""

_Query = tuple[Metric | None, Windows | None]


class HotRoutes:
    """Answers counters from the cache and begins streams, else calls the application."""

    def __init__(
        self, inner: ASGIApp, readings: Readings, streams: Streams, metrics: ApiMetrics
    ) -> None:
        """Call `inner` for all that is not certain."""
        self._inner = inner
        self._readings = readings
        self._streams = streams
        self._metrics = metrics
        self._queries: dict[bytes, _Query | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] == "http" and scope["method"] == "GET":
            path: str = scope["path"]
            if path.endswith(COUNTERS) and (asked := self._asked(scope, COUNTERS)) is not None:
                if await self._counters(*asked, scope, send):
                    return
            elif (
                path.endswith(STREAM)
                and self._streams.has_room
                and (asked := self._asked(scope, STREAM)) is not None
            ):
                await self._streams.serve(asked[1], receive, send)
                return
        await self._inner(scope, receive, send)

    async def _counters(self, site: Site, key: Key, scope: Scope, send: Send) -> bool:
        """Answer with a site's numbers; claim that there were any."""
        begun = time.perf_counter()
        try:
            rendered = await self._readings.rendered(site, key.metric, key.windows)
        except ProblemError:
            return False
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
        start, body = rendered.start, rendered.body
        if known is not None and has_tag(known.decode("latin-1"), rendered.tag):
            start, body = rendered.start_not_modified, b""
        self._metrics.note("counters", start["status"], time.perf_counter() - begun)
        await send(start)
        await send({"type": "http.response.body", "body": body})
        return True

    def _asked(self, scope: Scope, suffix: str) -> tuple[Site, Key] | None:
        """Return what is asked for, `None` where that is for the long way to say."""
        path: str = scope["path"]
        if not path.startswith(PREFIX):
            return None
        site = self._readings.configuration.sites.get(path[len(PREFIX) : -len(suffix)])
        query = self._query(scope["query_string"])
        if site is None or query is None:
            return None
        metric, windows = query
        settings = site.settings
        return site, Key(site.id, metric or settings.metric, windows or settings.windows)

    def _query(self, raw: bytes) -> _Query | None:
        if raw in self._queries:
            return self._queries[raw]
        if len(self._queries) >= QUERIES_MAX:
            self._queries.clear()
        found = self._queries[raw] = _parse(raw)
        return found


def _parse(raw: bytes) -> _Query | None:
    """Return metric and windows of a query; unknown parameters other than `after` are ignored, as everywhere."""
    try:
        asked = dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=8))
        if "after" in asked:
            return None
        return (
            Metric(asked["metric"]) if "metric" in asked else None,
            Windows(asked["windows"]) if "windows" in asked else None,
        )
    except ValueError:
        return None


def put_before_middleware(
    app: FastAPI, readings: Readings, streams: Streams, metrics: ApiMetrics
) -> None:
    """Let the hot routes be answered before the middleware; called before the first request."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: HotRoutes(build(), readings, streams, metrics)  # type: ignore[method-assign]  # built once, at the first request
