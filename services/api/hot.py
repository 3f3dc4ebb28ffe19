"""The short ways of what is asked most: counters past uvicorn and FastAPI, from bytes in the process; streams past the middleware.

Only what is certain goes a short way: a GET, a declared site, known values. All else, and every problem, goes to the routes of
`services/api/counters.py`, which answer the same.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from urllib.parse import parse_qsl

from fastapi import FastAPI
from msgspec import Struct
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.metrics import ApiMetrics
from services.api.reading import HTTP_NOT_MODIFIED, HTTP_OK, Key, Readings, Rendered, has_tag
from services.api.stream import Streams
from services.runtime.direct import DirectRequest, Handler, add_direct_reader, head_of
from services.runtime.problem import ProblemError, problem_response
from visits.counters import Metric
from visits.window import Windows

PREFIX, COUNTERS, STREAM = "/v1/sites/", "/counters", "/stream"
URLS_MAX, URL_BYTES_MAX = 4_096, 256
"""How many URLs are remembered, and how long ones; more are parsed anew, longer ones take no short way."""

COUNTERS_BYTES = COUNTERS.encode()
IF_NONE_MATCH = b"if-none-match"


class _Asked(Struct, frozen=True):
    """What a URL asks for; `None`: as the site says."""

    site: str
    metric: Metric | None
    windows: Windows | None


class DirectCounters:
    """Answers GETs of counters the direct way (`services.runtime.direct`)."""

    def __init__(self, readings: Readings, metrics: ApiMetrics) -> None:
        """Take what reads."""
        self._readings = readings
        self._metrics = metrics
        self._asked: dict[bytes, _Asked | None] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    def find(self, url: bytes) -> Handler | None:
        """Return who answers a URL, `None` where that is for the routes to say."""
        if len(url) > URL_BYTES_MAX or COUNTERS_BYTES not in url:
            return None
        if url in self._asked:
            asked = self._asked[url]
        else:
            if len(self._asked) >= URLS_MAX:
                self._asked.clear()
            asked = self._asked[url] = _parse_url(url)
        if asked is None:
            return None
        key = _key(asked, self._readings)
        return None if key is None else partial(self._answer, key)

    def _answer(self, key: Key, request: DirectRequest) -> None:
        """Answer at once from what is fresh, else once it was read."""
        rendered = self._readings.fresh_one(key)
        if rendered is not None:
            self._respond(rendered, request, 0.0)
            return
        task = asyncio.create_task(self._answer_later(key, request))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _answer_later(self, key: Key, request: DirectRequest) -> None:
        begun = time.perf_counter()
        try:
            site = self._readings.site(key.site)
            rendered = await self._readings.rendered(site, key.metric, key.windows)
        except ProblemError as error:
            self._metrics.note("counters", error.status, time.perf_counter() - begun)
            response = problem_response(error)
            headers = [h for h in response.raw_headers if h[0] != b"content-length"]
            request.respond(head_of(error.status, headers), bytes(response.body))
            return
        self._respond(rendered, request, time.perf_counter() - begun)

    def _respond(self, rendered: Rendered, request: DirectRequest, seconds: float) -> None:
        for name, value in request.headers:
            if len(name) == len(IF_NONE_MATCH) and name.lower() == IF_NONE_MATCH:
                if has_tag(value.decode("latin-1"), rendered.tag):
                    self._metrics.note("counters", HTTP_NOT_MODIFIED, seconds)
                    request.respond(rendered.head_not_modified, None)
                    return
                break
        self._metrics.note("counters", HTTP_OK, seconds)
        request.respond(rendered.head, rendered.body)


class HotStreams:
    """Begins streams before the middleware, else calls the application."""

    def __init__(self, inner: ASGIApp, readings: Readings, streams: Streams) -> None:
        """Call `inner` for all that is not certain."""
        self._inner = inner
        self._readings = readings
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        key = self._key(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if key is None or not self._streams.has_room:
            await self._inner(scope, receive, send)
        else:
            await self._streams.serve(key, receive, send)

    def _key(self, scope: Scope) -> Key | None:
        path: str = scope["path"]
        if not path.endswith(STREAM):
            return None
        asked = _parse(path, scope["query_string"], STREAM)
        return None if asked is None else _key(asked, self._readings)


def put_hot_routes(app: FastAPI, readings: Readings, streams: Streams, metrics: ApiMetrics) -> None:
    """Let counters and streams go their short ways; called before the server starts."""
    add_direct_reader(app, DirectCounters(readings, metrics).find)
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: HotStreams(build(), readings, streams)  # type: ignore[method-assign]  # built once, at the first request


def _parse_url(url: bytes) -> _Asked | None:
    try:
        path, _, query = url.decode("ascii").partition("?")
    except UnicodeDecodeError:
        return None
    return _parse(path, query.encode(), COUNTERS)


def _parse(path: str, query: bytes, suffix: str) -> _Asked | None:
    """Return what is asked for; unknown parameters but `after` are ignored, as everywhere."""
    if not (path.startswith(PREFIX) and path.endswith(suffix)):
        return None
    try:
        asked = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=8))
        if "after" in asked:
            return None
        return _Asked(
            path[len(PREFIX) : -len(suffix)],
            Metric(asked["metric"]) if "metric" in asked else None,
            Windows(asked["windows"]) if "windows" in asked else None,
        )
    except ValueError:
        return None


def _key(asked: _Asked, readings: Readings) -> Key | None:
    """Return the numbers that are meant; `None` where the site is not declared."""
    site = readings.configuration.sites.get(asked.site)
    if site is None:
        return None
    settings = site.settings
    return Key(site.id, asked.metric or settings.metric, asked.windows or settings.windows)
