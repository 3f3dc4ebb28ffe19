"""Health of a process: alive, ready, draining; served as `/livez`, `/readyz` and `/metrics`.

The status code is the contract (200 or 503); `?verbose` is for people. `/livez` stays 200 as long as the process answers.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Health:
    """What keeps a process from being ready, and whether it drains.

    Attributes:
        draining: set once by SIGTERM; streams end and no new work is taken.
        notes: name → sentence for people, shown by `/readyz?verbose` whether or not the process is ready.
    """

    def __init__(self) -> None:
        """Begin not ready: every part says when it has started."""
        self.draining = asyncio.Event()
        self.notes: dict[str, str] = {}
        self._obstacles: dict[str, str] = {"start": "starting"}

    def obstruct(self, name: str, reason: str) -> None:
        """Say that the process is not ready because of `reason`; `name` identifies the obstacle."""
        self._obstacles[name] = reason

    def clear(self, name: str) -> None:
        """Say that an obstacle is gone."""
        self._obstacles.pop(name, None)

    @property
    def obstacles(self) -> dict[str, str]:
        """What stands in the way now, by name."""
        if self.draining.is_set():
            return self._obstacles | {"draining": "this process is stopping"}
        return dict(self._obstacles)

    @property
    def is_ready(self) -> bool:
        """Claim that the next request can be served."""
        return not self._obstacles and not self.draining.is_set()


def health_router(
    health: Health, registry: CollectorRegistry, *, with_metrics: bool = True
) -> APIRouter:
    """Return the routes `/livez`, `/readyz` and, unless it has a port of its own, `/metrics`."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", operation_id="livez", summary="Is the process alive?")
    async def livez() -> Response:
        return Response("ok\n", media_type="text/plain")

    @router.get("/readyz", operation_id="readyz", summary="Can the next request be served?")
    async def readyz(request: Request) -> Response:
        obstacles = health.obstacles
        lines = ["ready" if not obstacles else "not ready"]
        if "verbose" in request.query_params:
            lines += [f"- {name}: {reason}" for name, reason in sorted(obstacles.items())]
            lines += [f"+ {name}: {note}" for name, note in sorted(health.notes.items())]
        status = 503 if obstacles else 200
        return Response(
            "\n".join(lines) + "\n", status_code=status, media_type="text/plain; charset=utf-8"
        )

    if with_metrics:

        @router.get("/metrics", operation_id="metrics", summary="Prometheus metrics")
        async def metrics() -> Response:
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
