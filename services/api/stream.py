"""Server-sent events: `counters` at once and on change, at most one a second (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec

from services.api.reading import Readings, as_json
from services.runtime.health import Health
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.counters import Metric
from visits.window import Windows

CHANGE_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0
RETRY_MS = 5_000

_encoder = msgspec.json.Encoder()


async def events(
    readings: Readings, health: Health, site: Site, metric: Metric, windows: Windows
) -> AsyncIterator[bytes]:
    """Yield events until the process drains; a slow client misses values in between, never the latest."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    last: tuple[object, ...] = ()
    sent_at = time.monotonic()
    while not health.draining.is_set():
        try:
            answer = await readings.cached(site, metric, windows)
        except ProblemError:
            answer = None
        if answer is not None:
            found = (*answer.numbers.values(), answer.stale)
            if found != last:
                last, sent_at = found, time.monotonic()
                yield (
                    b"event: counters\ndata: "
                    + _encoder.encode(as_json(site, metric, windows, answer))
                    + b"\n\n"
                )
        if time.monotonic() - sent_at > KEEP_ALIVE_SECONDS:
            sent_at = time.monotonic()
            yield b": still here\n\n"
        try:
            await asyncio.wait_for(health.draining.wait(), CHANGE_SECONDS)
        except TimeoutError:
            continue
