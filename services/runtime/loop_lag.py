"""How late the event loop comes to what is due: while it is late, everything in the process is."""

from __future__ import annotations

import asyncio
import time

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Histogram

LOOK_SECONDS = 0.25
"""How often lateness is measured: seldom enough to cost nothing, often enough that a stall of a second is seen."""

EDGES_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class LoopLagPart:
    """Measures the process's event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metric."""
        self._lag = Histogram(
            "visit_counter_loop_lag_seconds",
            "How late the event loop came to what was due, measured four times a second",
            buckets=EDGES_SECONDS,
            registry=registry,
        )
        self._task: asyncio.Task[None] | None = None

    def install(self, app: FastAPI) -> None:
        """Add nothing: there is no route to it."""

    async def start(self) -> None:
        """Begin to measure."""
        self._task = asyncio.create_task(self._run(), name="loop-lag")

    async def drain(self) -> None:
        """Nothing is under way."""

    async def close(self) -> None:
        """Measure no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            due = time.monotonic() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self._lag.observe(max(0.0, time.monotonic() - due))
