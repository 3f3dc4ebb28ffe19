"""The aggregator on a log that changes under it, on the in-memory pair."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from services.aggregator.loop import Aggregator
from services.aggregator.metrics import AggregatorMetrics
from services.backends.memory import MemoryConsumer, MemoryLog, MemoryStore
from services.backends.port import Fetched
from services.runtime.health import Health
from tests.support.logs import NOON, view
from visits.codec import encode_record
from visits.state import Parameters

TURNS_MAX = 2_000


class Running:
    """An aggregator that runs, with its log and store."""

    def __init__(self) -> None:
        self.log = MemoryLog(2)
        self.store = MemoryStore()
        self.health = Health()
        self.registry = CollectorRegistry()
        self.aggregator = Aggregator(
            self.log, self.store, Parameters(), AggregatorMetrics(self.registry), self.health, 0.1
        )

    async def append(self, *ids: str) -> None:
        """Append views of site `b`, whose partition is 0 of 2."""
        values = [(b"b", encode_record(view(NOON, site="b", id=f"{name}-000000"))) for name in ids]
        await self.log.append(0, values)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let the aggregator work until something is so."""
        for _ in range(TURNS_MAX):
            if is_so():
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"never so; obstacles: {self.health.obstacles}")

    async def until_counted(self, position: int) -> None:
        """Let the aggregator work until partition 0 is counted so far."""
        await self.until(lambda: self.aggregator.positions.get(0) == position)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    found = Running()
    task = asyncio.create_task(found.aggregator.run())
    yield found
    found.aggregator.stop()
    await task


async def test_a_tail_lost_in_silence_is_never_counted_under_the_old_fence(
    running: Running,
) -> None:
    """The log forgets b and c, takes x and y instead and goes on past the position: `wrong_log`, nothing counted."""
    await running.append("a", "b", "c")
    await running.until_counted(3)
    before = await running.store.dump(0)
    running.log.lose_tail(0, 1)
    await running.append("x", "y", "d")
    await running.until(lambda: "wrong_log" in running.health.obstacles.get("partition 0", ""))
    assert await running.store.dump(0) == before
    assert "partition 1" not in running.health.obstacles


async def test_another_leader_with_the_same_records_is_followed(running: Running) -> None:
    """A leader that changed without losing anything costs one look at the record before, and all is counted."""
    await running.append("a", "b")
    await running.until_counted(2)
    running.log.lose_tail(0, 2)
    await running.append("c", "d")
    await running.until_counted(4)
    head = await running.store.head(0)
    assert head is not None
    assert head.fence.position == 4


async def test_while_the_log_is_silent_the_numbers_grow_old(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose broker is away gives out nothing and no error: nobody knows then that all is counted."""
    monkeypatch.setattr("services.aggregator.loop.TOUCH_SECONDS", 0.01)
    monkeypatch.setattr("services.aggregator.partition.HEARD_MS", 40)
    await running.append("a")
    await running.until_counted(1)

    async def as_of() -> int:
        head = await running.store.head(0)
        assert head is not None
        return head.as_of

    fetch = MemoryConsumer.fetch

    async def silent(_consumer: MemoryConsumer, wait_seconds: float) -> list[Fetched]:
        await asyncio.sleep(min(wait_seconds, 0.005))
        return []

    monkeypatch.setattr(MemoryConsumer, "fetch", silent)
    await asyncio.sleep(0.3)
    since = await as_of()
    await asyncio.sleep(0.2)
    assert await as_of() == since
    monkeypatch.setattr(MemoryConsumer, "fetch", fetch)
    async with asyncio.timeout(10):
        while await as_of() <= since:  # noqa: ASYNC110  # the store has no event for it
            await asyncio.sleep(0.02)


async def test_how_far_and_how_full_is_shown(running: Running) -> None:
    """Position, room for pages and for ids, and the times of fold and apply, once a batch is counted."""
    await running.append("a", "b", "c")
    await running.until_counted(3)
    first = {"partition": "0"}

    def number(name: str, labels: dict[str, str] | None = None) -> float | None:
        return running.registry.get_sample_value(f"visit_counter_{name}", labels or {})

    assert number("position_records", first) == 3
    # Of one site, whose views are all of one page.
    assert number("page_fill_ratio", first) == pytest.approx(1 / Parameters().pages_max)
    assert number("id_window_seconds", first) == 3600
    for name in ("fold_seconds_count", "apply_seconds_count", "batch_records_count"):
        assert number(name)
    running.aggregator._metrics.forget(0)
    assert number("position_records", first) is None
    assert number("page_fill_ratio", first) is None
