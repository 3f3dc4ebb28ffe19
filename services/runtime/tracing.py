"""Traces: one span a batch, by OpenTelemetry where an endpoint is configured, else by nothing at all.

What is traced knows `Tracer` alone; the SDK is loaded when traces are switched on, and only then needed (the extra `otel`).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from fastapi import FastAPI

from services.runtime.settings import TelemetrySettings
from visits.errors import SettingsError

Value = int | float | str
"""An attribute of a span: a number of records, a partition, an outcome. Never anything of a reader."""


class Span(Protocol):
    """One batch under way."""

    def end(self, error: BaseException | None = None, /, **attributes: Value) -> None:
        """Say how it ended; an error by its type alone. Never raises, never waits."""


class Tracer(Protocol):
    """Begins spans; must not be asked for one an event."""

    def begin(self, name: str, /, **attributes: Value) -> Span:
        """Begin a span; one that is never ended is never told. Never raises, never waits."""

    def close(self) -> None:
        """Hand out what is left; blocks for a bounded time. Never raises."""


class _NoSpan:
    def end(self, error: BaseException | None = None, /, **attributes: Value) -> None:
        """Tell nobody."""


class _NoTracer:
    _span = _NoSpan()

    def begin(self, name: str, /, **attributes: Value) -> Span:
        """Return the one span that tells nobody."""
        del name, attributes
        return self._span

    def close(self) -> None:
        """Nothing is left."""


NO_TRACER: Tracer = _NoTracer()
"""Traces are off."""


def start_tracing(settings: TelemetrySettings, service: str) -> Tracer:
    """Return what traces, as configured.

    Args:
        settings: where to.
        service: as `configure_logging` names it.

    Raises:
        SettingsError: traces are switched on and the extra is not installed, or the endpoint is no URL.
    """
    if not settings.otlp_endpoint:
        return NO_TRACER
    try:
        from services.runtime.otel import OtlpTracer  # noqa: PLC0415  # needs the extra
    except ImportError as error:
        msg = (
            f"telemetry.otlp_endpoint = {settings.otlp_endpoint!r} (or OTEL_EXPORTER_OTLP_ENDPOINT) switches traces on, and the "
            f"extra for them is not installed ({error.name} is missing): pip install 'visit-counter[otel]', or leave it empty"
        )
        raise SettingsError(msg) from error
    return OtlpTracer(settings.otlp_endpoint, service)


class TracingPart:
    """Hands out the last spans when a process ends; the last of its parts, since the others still trace while they drain."""

    def __init__(self, tracer: Tracer) -> None:
        """Take what traces."""
        self._tracer = tracer

    def install(self, app: FastAPI) -> None:
        """Add nothing."""

    async def start(self) -> None:
        """Begin nothing."""

    async def drain(self) -> None:
        """The parts before this one drain."""

    async def close(self) -> None:
        """Hand out what is left."""
        await asyncio.to_thread(self._tracer.close)
