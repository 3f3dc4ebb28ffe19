"""The api as a part of a process: its routes, and what they refuse."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry, Counter

import widget
from services.api.definitions import definitions
from services.api.hot import put_before_middleware
from services.api.reading import (
    CACHED,
    CORS,
    HTTP_NOT_MODIFIED,
    HTTP_OK,
    Readings,
    as_json,
    has_tag,
    tag_of,
)
from services.api.stream import events
from services.backends.port import CounterStore, EventLog
from services.runtime.health import Health
from services.runtime.metrics import gauge
from services.runtime.problem import ProblemError
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.errors import PageError, PartitionStoppedError, UnavailableError
from visits.page import OTHER
from visits.window import Windows, iso

AFTER_SECONDS = 1.0
AFTER_POLL_SECONDS = 0.005
WAITERS_MAX = 1_000
PAGES_MAX = 100
STORE_CHECK_SECONDS = 2.0
POSITION = re.compile(r"(0|[1-9]\d{0,3}):(0|[1-9]\d{0,17})")

_encoder = msgspec.json.Encoder()
MetricName = Annotated[
    Metric | None, Query(description="visits, views or visitors; default: the site's")
]
WindowsName = Annotated[
    Windows | None, Query(description="rolling or calendar; default: the site's")
]


class ApiPart:
    """Serves the numbers; reading never counts."""

    def __init__(
        self,
        configuration: Configuration,
        event_log: EventLog | None,
        store: CounterStore,
        health: Health,
        registry: CollectorRegistry,
        *,
        demo: bool = False,
    ) -> None:
        """Take opened backends."""
        del event_log  # the partitions stand in the store's meta
        self._configuration = configuration
        self._store = store
        self._health = health
        self._demo = demo
        self._readings = Readings(configuration, store)
        self._waiters = 0
        self._streams = gauge(registry, "visit_counter_sse_clients", "Open event streams")
        self._store_up = gauge(registry, "visit_counter_store_up", "1 while the store answers")
        self._requests = Counter(
            "visit_counter_api_requests_total",
            "Requests to the api",
            ["route", "status"],
            registry=registry,
        )
        self._open_streams = 0
        self._task: asyncio.Task[None] | None = None

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        router = APIRouter(tags=["numbers"])
        methods = ["GET", "HEAD"]
        for path, endpoint, name in (
            ("/v1/sites/{site}/counters", self._counters, "counters"),
            ("/v1/sites/{site}/pages", self._pages, "pages"),
            ("/v1/sites/{site}/stream", self._stream, "stream"),
            ("/v1/sites/{site}/ledger", self._ledger, "ledger"),
            ("/v1/definitions", self._definitions, "definitions"),
            ("/widget/v1.js", self._widget, "widget"),
            ("/widget/{version}/visit-counter.js", self._versioned_widget, "versioned_widget"),
        ):
            router.add_api_route(path, endpoint, methods=methods[:1], operation_id=name, name=name)
            router.add_api_route(
                path, endpoint, methods=methods[1:], include_in_schema=False, name=f"{name}_head"
            )
        if self._demo:
            router.add_api_route(
                "/{path:path}", self._demo_page, methods=methods, include_in_schema=False
            )
        app.include_router(router)
        put_before_middleware(
            app, self._readings, lambda status: self._requests.labels("counters", status).inc()
        )

    async def start(self) -> None:
        """Begin to look after the store."""
        self._health.obstruct("store", "the store was not read yet")
        self._task = asyncio.create_task(self._watch(), name="api")

    async def drain(self) -> None:
        """Streams end by themselves once the process drains."""

    async def close(self) -> None:
        """Stop looking after the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        """Tell readiness and metrics whether the store answers; once its numbers were read, its absence is bridged."""
        while True:
            try:
                await self._store.ping()
                await self._readings.meta()
            except (UnavailableError, PartitionStoppedError, ProblemError) as error:
                self._store_up.set(0)
                self._health.notes["store"] = str(error)
                if "store" in self._health.obstacles:
                    self._health.obstruct("store", str(error))
                await asyncio.sleep(0.1)
            else:
                self._store_up.set(1)
                self._health.notes.pop("store", None)
                self._health.clear("store")
                await asyncio.sleep(STORE_CHECK_SECONDS)

    async def _counters(
        self,
        request: Request,
        site: str,
        metric: MetricName = None,
        windows: WindowsName = None,
        after: Annotated[
            str | None, Query(description="a position as a view's answer names it")
        ] = None,
    ) -> Response:
        """Read a site's numbers."""
        declared = self._site(site)
        chosen, cut = metric or declared.settings.metric, windows or declared.settings.windows
        if after is None:
            rendered = await self._readings.rendered(declared, chosen, cut)
            return self._conditional(request, "counters", rendered.body, rendered.tag)
        reached = await self._reached(declared, after)
        body = as_json(declared, chosen, cut, await self._readings.fresh(declared, chosen, cut)) | {
            "after": reached
        }
        self._requests.labels("counters", HTTP_OK).inc()
        return Response(
            _encoder.encode(body), HTTP_OK, CORS | {"Cache-Control": "no-store"}, "application/json"
        )

    async def _pages(
        self,
        request: Request,
        site: str,
        page: Annotated[list[str] | None, Query()] = None,
        after: str | None = None,
    ) -> Response:
        """Read the views of up to 100 pages, under the strings asked."""
        declared = self._site(site)
        asked = page or []
        if len(asked) > PAGES_MAX:
            raise ProblemError(
                "malformed", f"{len(asked)} pages: ask for at most {PAGES_MAX} at once"
            )
        reached = None if after is None else await self._reached(declared, after)
        views, as_of = await self._readings.pages(
            declared, [_named(declared, text) for text in asked]
        )
        body: dict[str, Any] = {
            "site": site,
            "pages": dict(zip(asked, views, strict=True)),
            "as_of": iso(as_of, declared.zone),
        }
        if reached is not None:
            body["after"] = reached
            return Response(
                _encoder.encode(body),
                HTTP_OK,
                CORS | {"Cache-Control": "no-store"},
                "application/json",
            )
        return self._conditional(request, "pages", body, tag_of(repr(body["pages"])))

    async def _stream(
        self, request: Request, site: str, metric: MetricName = None, windows: WindowsName = None
    ) -> Response:
        """Follow a site's numbers as server-sent events."""
        declared = self._site(site)
        if (
            self._health.draining.is_set()
            or self._open_streams >= self._configuration.settings.server.max_streams
        ):
            raise ProblemError("unavailable", "no room for another stream: poll /counters instead")
        chosen, cut = metric or declared.settings.metric, windows or declared.settings.windows

        async def counted() -> Any:  # an async generator of bytes
            self._open_streams += 1
            self._streams.set(self._open_streams)
            try:
                async for event in events(self._readings, self._health, declared, chosen, cut):
                    yield event
            finally:
                self._open_streams -= 1
                self._streams.set(self._open_streams)

        headers = CORS | {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":  # a body that never ends would hold the request open
            return Response(headers=headers, media_type="text/event-stream")
        return StreamingResponse(counted(), headers=headers, media_type="text/event-stream")

    async def _ledger(self, request: Request, site: str) -> Response:
        """List every opening balance and correction of a site."""
        declared = self._site(site)
        entries = [
            msgspec.json.decode(raw, type=LedgerEntry)
            for raw in await self._readings.ledger(declared)
        ]
        listed = []
        for entry in sorted(entries, key=lambda entry: entry.position):
            line = msgspec.to_builtins(entry)
            for name in ("at", "start", "end"):
                if line.get(name) is not None:
                    line[name] = iso(line[name], declared.zone)
            listed.append(line)
        body = {"site": site, "entries": listed}
        return self._conditional(request, "ledger", body, tag_of(repr(body)))

    async def _definitions(
        self, request: Request, lang: Literal["vi", "en"] | None = None, site: str | None = None
    ) -> Response:
        """Say what the numbers mean."""
        declared = None if site is None else self._site(site)
        chosen = lang or (declared.settings.lang if declared else "vi")
        body = definitions(chosen, self._configuration.settings.parameters, declared)
        return self._conditional(request, "definitions", body, tag_of(repr(body)))

    async def _widget(self, request: Request) -> Response:
        """Return the widget's script; compatible for ever under this path."""
        return _script(request, "public, max-age=3600, stale-while-revalidate=86400")

    async def _versioned_widget(self, request: Request, version: str) -> Response:
        """Return the script of this very version."""
        if version != widget.VERSION:
            raise ProblemError("not_found", f"this server has version {widget.VERSION}", status=404)
        return _script(request, "public, max-age=31536000, immutable")

    async def _demo_page(self, path: str) -> Response:
        """Return a page of the demo portal."""
        found = widget.demo_page("/" + path)
        if found is None:
            raise ProblemError("not_found", f"the demo portal has no page /{path}", status=404)
        return Response(found[0], media_type=found[1], headers={"Cache-Control": "no-cache"})

    def _site(self, site: str) -> Site:
        declared = self._configuration.sites.get(site)
        if declared is None:
            raise ProblemError("unknown_site", f"no site {site[:63]!r} is declared here")
        return declared

    async def _reached(self, site: Site, after: str) -> bool:
        """Wait up to a second until a position is counted; claim that it is.

        Raises:
            ProblemError: the position is malformed or another partition's.
        """
        match = POSITION.fullmatch(after)
        partition = await self._readings.partition(site)
        if match is None or int(match[1]) != partition:
            raise ProblemError(
                "malformed",
                f"after={after[:40]!r}: no position of this site, which begins with {partition}:",
            )
        if self._waiters >= WAITERS_MAX:
            return await self._readings.position(site) > int(match[2])
        self._waiters += 1
        try:
            until = time.monotonic() + AFTER_SECONDS
            while await self._readings.position(site) <= int(match[2]):
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(AFTER_POLL_SECONDS)
            return True
        finally:
            self._waiters -= 1

    def _conditional(
        self, request: Request, route: str, body: dict[str, Any] | bytes, tag: str
    ) -> Response:
        """Answer 304 to those who have these numbers already."""
        headers = CORS | {"Cache-Control": CACHED, "ETag": tag}
        if has_tag(request.headers.get("if-none-match", ""), tag):
            self._requests.labels(route, HTTP_NOT_MODIFIED).inc()
            return Response(status_code=HTTP_NOT_MODIFIED, headers=headers)
        self._requests.labels(route, HTTP_OK).inc()
        content = body if isinstance(body, bytes) else _encoder.encode(body)
        return Response(content, HTTP_OK, headers, "application/json")


def _named(site: Site, address: str) -> str | None:
    """Return the page an address is counted under; `None` where it has no counter of its own."""
    try:
        page = site.page(address)
    except PageError:
        return None
    return None if page == OTHER else page


def _script(request: Request, cache: str) -> Response:
    script = widget.script()
    tag = tag_of(script.decode())
    headers = CORS | {
        "Cache-Control": cache,
        "ETag": tag,
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if has_tag(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTP_NOT_MODIFIED, headers=headers)
    return Response(script, HTTP_OK, headers, "text/javascript; charset=utf-8")
