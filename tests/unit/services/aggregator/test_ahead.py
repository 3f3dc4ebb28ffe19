"""Reading ahead changes when things are read, and nothing that is counted."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.aggregator import ahead
from services.aggregator.loop import Aggregator
from services.aggregator.metrics import AggregatorMetrics
from services.backends.memory import MemoryLog, MemoryStore
from services.backends.port import Applied, Miss
from services.runtime.health import Health
from tests.support.dictstore import DictStore
from tests.support.logs import NOON, as_log, view
from visits.codec import LogRecord
from visits.errors import StoreUnavailableError
from visits.state import Batch, Parameters, State, Wanted

SMALL = Parameters(pages_max=3, ids_max=8)
TURNS_MAX = 4_000
LOG = as_log(
    [
        view(
            NOON + n * 60_000,
            id=f"event-{n % 37:03d}",
            page=f"/{n % 5}",
            visitor=f"{n % 11:016x}",
            site="ab"[n % 2],
        )
        for n in range(200)
    ]
)


class SlowStore(MemoryStore):
    """Takes its time with everything, so that reads and applies overtake each other; now and then an answer is lost."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(seed)
        self.places: list[int] = []
        self.losses = 3

    async def read_state(self, partition: int, generation: int, wanted: Wanted) -> State | None:
        await self._dawdle()
        state = await super().read_state(partition, generation, wanted)
        assert state is not None
        self.places.append(state.head.fence.position)
        await self._dawdle()
        return state

    async def apply(self, partition: int, batch: Batch) -> Applied | Miss:
        await self._dawdle()
        answer = await super().apply(partition, batch)
        if self.losses and self._rng.random() < 0.1:
            self.losses -= 1
            raise StoreUnavailableError("the answer was lost")
        await self._dawdle()
        return answer

    async def _dawdle(self) -> None:
        for _ in range(self._rng.randrange(6)):
            await asyncio.sleep(0)


async def counted(store: SlowStore, log: list[LogRecord], monkeypatch: Any) -> dict[str, Any]:
    """Count a log in pieces of 7 records; return what the store holds."""
    monkeypatch.setattr(ahead, "PIECE_RECORDS_MAX", 7)
    monkeypatch.setattr("services.aggregator.loop.BACK_OFF_SECONDS", 0.001)
    event_log = MemoryLog(1)
    await event_log.append(0, [(record.key, record.value) for record in log])
    metrics = AggregatorMetrics(CollectorRegistry())
    aggregator = Aggregator(event_log, store, SMALL, metrics, Health(), 0.1)
    task = asyncio.create_task(aggregator.run())
    for _ in range(TURNS_MAX):
        if aggregator.positions.get(0) == len(log):
            break
        await asyncio.sleep(0.001)
    aggregator.stop()
    await task
    return await store.dump(0)


@pytest.mark.parametrize("seed", range(8))
async def test_a_store_that_overtakes_itself_holds_what_the_log_says(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of reads and applies, and whichever answers are lost: the same state as counted piece by piece."""
    store = SlowStore(seed)
    dump = await counted(store, LOG, monkeypatch)
    model = DictStore(SMALL)
    model.run(LOG, [])
    for name in ("counters", "pages", "page_days", "books"):
        assert dump[name] == model.tables[name], name
    assert dump["seen"] == {
        site: {visitor.hex(): at for visitor, at in table.items()}
        for site, table in model.tables["seen"].items()
    }
    assert dump["log_time"] == model.head.log_time
    assert dump["id_window"] == model.head.id_window


async def test_states_are_read_before_the_batch_before_them_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most states are read at an earlier fence than their piece begins at: else nothing is read ahead."""
    store = SlowStore(0)
    store.losses = 0
    await counted(store, LOG, monkeypatch)
    begins = range(0, len(LOG), 7)
    assert len(store.places) == len(begins)
    early = sum(place < begin for place, begin in zip(store.places, begins, strict=True))
    assert early > len(begins) // 2
