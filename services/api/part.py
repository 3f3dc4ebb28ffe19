"""The api as a part of a process: which routes there are, and how it starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from services.api.balance import BalanceRoutes
from services.api.counters import CounterRoutes
from services.api.definitions import DefinitionRoutes
from services.api.demo import demo_page
from services.api.embed import EmbedRoutes
from services.api.facts import FactFinder
from services.api.history import HistoryRoutes
from services.api.hot import put_hot_routes
from services.api.install import InstallRoutes
from services.api.ledger import LedgerRoutes
from services.api.metrics import HEAD_SUFFIX, ApiMetrics, measured
from services.api.openapi import answers
from services.api.reading import Readings
from services.api.script import (
    page_script,
    page_style,
    versioned_widget,
    widget_script,
    widget_tools,
)
from services.api.site_page import SiteRoutes
from services.api.stream import Streams
from services.api.survey import Survey
from services.api.top import TopRoutes
from services.backends.port import CounterStore, EventLog
from services.runtime.health import Health
from services.runtime.problem import ProblemError
from services.runtime.settings import Configuration
from visits.errors import PartitionStoppedError, UnavailableError

STORE_CHECK_SECONDS = 2.0
Endpoint = Callable[..., Any]


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
        self._store = store
        self._health = health
        self._demo = demo
        self._metrics = ApiMetrics(registry)
        self._readings = Readings(configuration, store, self._metrics)
        self._streams = Streams(self._readings, health, self._metrics)
        self._history = HistoryRoutes(self._readings)
        self._top = TopRoutes(self._readings)
        self._ledger = LedgerRoutes(self._readings)
        self._balance = BalanceRoutes(self._readings)
        finder = FactFinder(self._readings, self._history, self._top, self._ledger, self._balance)
        self._site = SiteRoutes(self._readings, finder)
        self._survey = Survey(self._readings, self._balance, health, self._metrics)
        self._task: asyncio.Task[None] | None = None

    def install(self, app: FastAPI) -> None:
        """Add the routes, each for GET and HEAD."""
        router = APIRouter(tags=["numbers"], route_class=measured(self._metrics))
        for path, endpoint, name in self._routes():
            router.add_api_route(
                path,
                endpoint,
                methods=["GET"],
                operation_id=name,
                name=name,
                responses=answers(name),
            )
            router.add_api_route(
                path, endpoint, methods=["HEAD"], include_in_schema=False, name=name + HEAD_SUFFIX
            )
        if self._demo:
            router.add_api_route(
                "/{path:path}", demo_page, methods=["GET", "HEAD"], include_in_schema=False
            )
        app.include_router(router)
        put_hot_routes(app, self._readings, self._streams, self._metrics)

    async def start(self) -> None:
        """Begin to look after the store."""
        self._health.obstruct("store", "the store was not read yet")
        self._task = asyncio.create_task(self._watch(), name="api")
        self._survey.start()

    async def drain(self) -> None:
        """Streams end by themselves once the process drains."""

    async def close(self) -> None:
        """Stop looking after the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        lanes = (self._site, self._history, self._top, self._ledger, self._balance)
        for part in (self._survey, self._streams, *lanes):
            await part.close()

    def _routes(self) -> list[tuple[str, Endpoint, str]]:
        """Return path, endpoint and name of every route."""
        counters = CounterRoutes(self._readings, self._streams)
        definitions = DefinitionRoutes(self._readings)
        embed = EmbedRoutes(self._readings)
        return [
            ("/v1/sites/{site}/counters", counters.counters, "counters"),
            ("/v1/sites/{site}/pages", counters.pages, "pages"),
            ("/v1/sites/{site}/pages/top", self._top.top, "top_pages"),
            ("/v1/sites/{site}/history", self._history.history, "history"),
            ("/v1/sites/{site}/stream", counters.stream, "stream"),
            ("/v1/sites/{site}/ledger", self._ledger.ledger, "ledger"),
            ("/v1/sites/{site}/balance", self._balance.balance, "balance"),
            ("/v1/definitions", definitions.definitions, "definitions"),
            ("/v1/sites/{site}/badge.svg", embed.badge, "badge"),
            ("/v1/sites/{site}/fragment.html", embed.fragment, "fragment"),
            ("/embed/{site}", embed.embed, "embed"),
            ("/sites/{site}", self._site.site_page, "site_page"),
            ("/sites/{site}/install", InstallRoutes(self._readings).install, "install"),
            ("/widget/{name}.css", page_style, "page_style"),
            ("/widget/v1.js", widget_script, "widget"),
            ("/widget/tools.js", widget_tools, "widget_tools"),
            ("/widget/{name}.js", page_script, "page_script"),
            ("/widget/{version}/visit-counter.js", versioned_widget, "versioned_widget"),
        ]

    async def _watch(self) -> None:
        """Tell readiness and metrics whether the store answers; once its numbers were read, its absence is bridged."""
        while True:
            try:
                await self._store.ping()
                await self._readings.meta()
            except (UnavailableError, PartitionStoppedError, ProblemError) as error:
                self._metrics.store_up.set(0)
                self._health.notes["store"] = str(error)
                if "store" in self._health.obstacles:
                    self._health.obstruct("store", str(error))
                await asyncio.sleep(0.1)
            else:
                self._metrics.store_up.set(1)
                self._health.notes.pop("store", None)
                self._health.clear("store")
                await asyncio.sleep(STORE_CHECK_SECONDS)
