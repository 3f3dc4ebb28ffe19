"""The aggregator as a part of a process."""

from __future__ import annotations

import asyncio
import os
import signal

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.aggregator.loop import Aggregator
from services.aggregator.metrics import AggregatorMetrics
from services.backends.port import CounterStore, EventLog
from services.runtime.health import Health
from services.runtime.settings import Configuration
from services.runtime.tracing import NO_TRACER, Tracer
from visits.errors import SettingsError

log = structlog.get_logger()


class AggregatorPart:
    """Runs the loop beside whatever else the process does."""

    def __init__(
        self,
        configuration: Configuration,
        event_log: EventLog,
        store: CounterStore,
        health: Health,
        registry: CollectorRegistry,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Take opened backends."""
        settings = configuration.settings
        self._health = health
        self._aggregator = Aggregator(
            event_log,
            store,
            settings.parameters,
            AggregatorMetrics(registry),
            health,
            settings.aggregator.dead_ratio_max,
            tracer,
        )
        self._task: asyncio.Task[None] | None = None

    def install(self, app: FastAPI) -> None:
        """Add nothing: health and metrics are every process's own."""

    async def start(self) -> None:
        """Begin to count."""
        self._health.obstruct("aggregator", "starting")
        self._task = asyncio.create_task(self._run(), name="aggregator")

    async def drain(self) -> None:
        """Finish the batch in hand and leave the group."""
        self._aggregator.stop()
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """End the loop if it did not drain in time."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Run the loop; what no retry can mend ends the process with a sentence."""
        try:
            await self._aggregator.run()
        except SettingsError as error:
            log.error("cannot count with these settings", reason=str(error))  # noqa: TRY400  # the sentence is what helps
            self._health.obstruct("aggregator", str(error))
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:
            log.exception("the aggregator failed, the process ends")
            self._health.obstruct("aggregator", "failed, see the log")
            os.kill(os.getpid(), signal.SIGTERM)
