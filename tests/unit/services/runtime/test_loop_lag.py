"""A stalled event loop shows."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from services.runtime import loop_lag


async def test_a_stall_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps the loop for 60 ms makes what was due late by about as much."""
    monkeypatch.setattr(loop_lag, "LOOK_SECONDS", 0.001)
    registry = CollectorRegistry()
    part = loop_lag.LoopLagPart(registry)
    await part.start()
    await asyncio.sleep(0)  # it waits now
    time.sleep(0.06)  # noqa: ASYNC251  # the stall
    name = "visit_counter_loop_lag_seconds"
    while not registry.get_sample_value(f"{name}_count"):  # noqa: ASYNC110  # a millisecond
        await asyncio.sleep(0)
    await part.close()
    late = registry.get_sample_value(f"{name}_sum")
    assert late is not None
    assert late > 0.05
