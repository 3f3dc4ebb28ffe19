"""Server-sent events: `counters` at once and on change, at most one a second (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from services.api.reading import Readings
from services.runtime.health import Health
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.counters import Metric
from visits.window import Windows

CHANGE_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0
RETRY_MS = 5_000


async def events(
    readings: Readings, health: Health, site: Site, metric: Metric, windows: Windows
) -> AsyncIterator[bytes]:
    """Yield events until the process drains; a slow client misses values in between, never the latest."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    last = ""
    sent_at = time.monotonic()
    while not health.draining.is_set():
        try:
            rendered = await readings.rendered(site, metric, windows)
        except ProblemError:
            rendered = None
        if rendered is not None and rendered.tag != last:
            last, sent_at = rendered.tag, time.monotonic()
            yield b"event: counters\ndata: " + rendered.body + b"\n\n"
        if time.monotonic() - sent_at > KEEP_ALIVE_SECONDS:
            sent_at = time.monotonic()
            yield b": still here\n\n"
        try:
            await asyncio.wait_for(health.draining.wait(), CHANGE_SECONDS)
        except TimeoutError:
            continue
