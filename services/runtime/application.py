"""How a process is put together from parts: one FastAPI application, one lifespan, one order of start and stop.

A part is a service: ingest, aggregator, api. `visit-counter up` has all three in one process, the others have one each.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, Protocol

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry, start_http_server
from starlette.types import ASGIApp, Receive, Scope, Send

from services.runtime.health import Health, health_router
from services.runtime.problem import install_problem_handlers
from services.runtime.settings import ServerSettings

GARBAGE_OBJECTS = 10_000
"""How many new objects the collector waits for instead of the usual 700: requests that wait for the log are no garbage."""

SWITCH_SECONDS = 0.0005
"""How soon a thread that waits for the interpreter gets it from a busy event loop: SQLite's is not to wait the usual 5 ms."""

NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""FastAPI's own would tell a collector the path, query and errors of every request: whose, and of what page (DESIGN 3.5)."""

log = structlog.get_logger()


class Part(Protocol):
    """One service within a process."""

    def install(self, app: FastAPI) -> None:
        """Add the part's routes; called once, before `start`."""

    async def start(self) -> None:
        """Begin background work. Returns without waiting for dependencies: what is away is an obstacle of `Health`."""

    async def drain(self) -> None:
        """Finish what is under way; called once after SIGTERM, readiness being off already. Bounded by `drain_seconds`."""

    async def close(self) -> None:
        """Release everything. Never raises."""


def create_application(
    title: str,
    parts: Sequence[Part],
    health: Health,
    registry: CollectorRegistry,
    settings: ServerSettings,
    opening: asyncio.Task[None] | None = None,
) -> FastAPI:
    """Put a process together.

    It serves at once; its parts start when the backends are open. Until then it is alive, not ready, and refuses by 503.

    Args:
        title: the name in the OpenAPI document.
        parts: in the order of their start; they drain and close in the same order (ingest first).
        health: shared by all parts.
        registry: shared by all parts.
        settings: the HTTP side.
        opening: opens the backends; `None`: they are open.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        beginning = asyncio.create_task(_begin(parts, health, opening), name="begin")
        if opening is None or opening.done():
            await beginning
        try:
            yield
        finally:
            health.draining.set()
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            for part in parts:
                try:
                    await asyncio.wait_for(part.drain(), settings.drain_seconds)
                except TimeoutError:
                    log.warning("a part did not drain in time", part=type(part).__name__)
            for part in parts:
                await part.close()

    app = FastAPI(
        title=title,
        lifespan=lifespan,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        telemetry=NO_TELEMETRY,
    )
    if settings.root_path:
        app.add_middleware(_Prefix, root_path=settings.root_path)
    install_problem_handlers(app)
    app.include_router(health_router(health, registry, with_metrics=settings.metrics_port is None))
    for part in parts:
        part.install(app)
    return app


class _Prefix:
    """Tells the routes under which prefix a proxy serves them (ASGI "root_path"), whether it takes the prefix off or not.

    uvicorn's own setting would put the prefix before every path, also before one that has it.
    """

    def __init__(self, inner: ASGIApp, root_path: str) -> None:
        self._inner = inner
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        scope["root_path"] = self._root_path
        await self._inner(scope, receive, send)


async def _begin(parts: Sequence[Part], health: Health, opening: asyncio.Task[None] | None) -> None:
    """Start the parts once the backends are open; what no waiting can mend ends the process."""
    try:
        if opening is not None:
            await opening
        for part in parts:
            await part.start()
    except Exception:
        # Whoever awaits `opening` tells its sentence.
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    health.clear("start")


def fit_interpreter() -> None:
    """Fit the interpreter to a process that serves."""
    # What is there now stays: the collector need not look through it again, which takes 25 to 40 ms each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    sys.setswitchinterval(SWITCH_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn's server that tells `Health` of the signal at once, so that streams end and do not hold it up."""

    def __init__(self, config: uvicorn.Config, health: Health) -> None:
        super().__init__(config)
        self._health = health

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then fit the interpreter."""
        await super().startup(sockets)
        fit_interpreter()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as uvicorn does, and leave it there: it would raise them again, and end the process before it has closed all."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: object) -> None:
        """Note the signal, then stop as uvicorn does."""
        self._health.draining.set()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]  # uvicorn types the frame narrowly


async def serve(
    app: FastAPI,
    health: Health,
    registry: CollectorRegistry,
    settings: ServerSettings,
    *,
    host: str,
    port: int,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; returns once everything is drained and closed.

    uvicorn's own proxy handling is off: by default it believes 127.0.0.1 (DESIGN 4.2).
    """
    config = uvicorn.Config(
        app,
        http=_protocol(app),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=16 * 1024,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        backlog=2048,
    )
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, addr=host, registry=registry)
    await _Server(config, health).serve()


def _protocol(app: FastAPI) -> type[asyncio.Protocol] | Literal["auto"]:
    """Return the HTTP protocol with the direct way; Windows has no httptools."""
    if sys.platform == "win32":
        return "auto"
    from services.runtime.direct_protocol import protocol_for  # noqa: PLC0415  # needs httptools

    return protocol_for(app)
