"""The api's metrics: what was asked, how long answers took, how old the numbers are."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.runtime.clock import now_ms
from services.runtime.metrics import gauge
from services.runtime.problem import status_of

EDGES_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.0)
"""Few: each costs a time series a route."""

HEAD_SUFFIX = "_head"


class ApiMetrics:
    """Requests by route and class of status, their time, open streams, and the age of the numbers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them all."""
        self._requests = Counter(
            "visit_counter_api_requests_total",
            "Requests to the api by route and class of status (2xx, 3xx, 4xx, 5xx)",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "visit_counter_api_request_seconds",
            "Time until an answer was ready to be sent, by route",
            ["route"],
            buckets=EDGES_SECONDS,
            registry=registry,
        )
        self.streams = gauge(registry, "visit_counter_sse_clients", "Open event streams")
        self.store_up = gauge(registry, "visit_counter_store_up", "1 while the store answers")
        self.online = gauge(
            registry, "visit_counter_online_readers", "Readers online, summed over all sites"
        )
        self.late_sites = gauge(
            registry, "visit_counter_late_sites", "Sites whose numbers are more than 5 s late"
        )
        self.balance_difference = gauge(
            registry,
            "visit_counter_balance_difference_views",
            "Sum of all differences in the books of all sites; 0 closes",
        )
        self.open_books = gauge(
            registry, "visit_counter_balance_open_sites", "Sites whose books do not close"
        )
        self.books_closed_at = gauge(
            registry,
            "visit_counter_balance_checked_timestamp_seconds",
            "When the books that were looked at longest ago were looked at, Unix seconds",
        )
        self._as_of = 0
        gauge(
            registry,
            "visit_counter_reading_age_seconds",
            "Age of the newest numbers read from the store; it grows while the aggregator or the store stands still",
        ).set_function(self._reading_age)
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}

    def note(self, route: str, status: int, seconds: float | None = None) -> None:
        """Note one answer of a named route, and how long it took where that means something."""
        key = (route, status // 100)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._requests.labels(route, f"{key[1]}xx"),
                self._seconds.labels(route),
            )
        children[0].inc()
        if seconds is not None:
            children[1].observe(seconds)

    def note_reading(self, as_of: int) -> None:
        """Note for which moment (Unix milliseconds) numbers were read."""
        self._as_of = max(self._as_of, as_of)

    def _reading_age(self) -> float:
        return (now_ms() - self._as_of) / 1000 if self._as_of else float("nan")


def measured(metrics: ApiMetrics) -> type[APIRoute]:
    """Return the class of routes whose answers and refusals are noted under the route's name."""

    class MeasuredRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # a coroutine function is one
            handler = super().get_route_handler()
            name = self.name.removesuffix(HEAD_SUFFIX)

            async def measure(request: Request) -> Response:
                begun = time.perf_counter()
                status = 500
                try:
                    response = await handler(request)
                    status = response.status_code
                except Exception as error:
                    status = status_of(error)
                    raise
                finally:
                    metrics.note(name, status, time.perf_counter() - begun)
                return response

            return measure

    return MeasuredRoute
