"""Shared batches: order, limits, deadlines, and what a waiter is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services.backends.port import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from services.backends.sqlite import SqliteLog
from services.ingest.batcher import Batcher, NotTakenError
from visits.errors import LogUnavailableError, UnavailableError


class GatedLog(SqliteLog):
    """A log in memory that acknowledges when it is told to; the batcher needs of it no more than `append`."""

    def __init__(self) -> None:
        self.appended: list[list[bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.tells_position = True

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        del partition
        first = sum(map(len, self.appended))
        self.appended.append([value for _key, value in records])
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return first if self.tells_position else None


@pytest.fixture
def gated() -> GatedLog:
    return GatedLog()


@pytest.fixture
async def batcher(gated: GatedLog) -> AsyncIterator[Batcher]:
    made = Batcher(gated, waiters_max=20_000, deadline_seconds=0.3)
    yield made
    await made.close()


async def test_waiting_requests_share_a_batch(gated: GatedLog, batcher: Batcher) -> None:
    """What comes together is appended together, in order, and each learns its own position."""
    futures = [batcher.submit(0, b"site", b"%d" % n) for n in range(100)]
    assert await asyncio.gather(*futures) == list(range(100))
    assert gated.appended == [[b"%d" % n for n in range(100)]]


async def test_enough_company_ends_the_wait(
    gated: GatedLog, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as many as the batch before had are enough, fewer wait for more."""
    monkeypatch.setattr("services.ingest.batcher.LINGER_SECONDS", 3600)
    await asyncio.gather(*(batcher.submit(0, b"s", b"a") for _ in range(100)))
    few = [batcher.submit(0, b"s", b"b") for _ in range(49)]
    await asyncio.sleep(0.02)
    assert len(gated.appended) == 1
    await asyncio.gather(*few, batcher.submit(0, b"s", b"b"))
    assert [len(batch) for batch in gated.appended] == [100, 50]


async def test_one_append_in_flight(gated: GatedLog, batcher: Batcher) -> None:
    """What comes during an append waits for the next one."""
    gated.gate.clear()
    first = batcher.submit(0, b"s", b"a")
    await asyncio.sleep(0.01)
    later = [batcher.submit(0, b"s", b"b"), batcher.submit(0, b"s", b"c")]
    await asyncio.sleep(0.01)
    assert gated.appended == [[b"a"]]
    gated.gate.set()
    assert await asyncio.gather(first, *later) == [0, 1, 2]
    assert gated.appended == [[b"a"], [b"b", b"c"]]


async def test_batches_keep_to_the_limits_of_the_log(gated: GatedLog, batcher: Batcher) -> None:
    """No batch has more records or bytes than the log takes."""
    small = [batcher.submit(0, b"s", b"x") for _ in range(BATCH_RECORDS_MAX + 1)]
    await asyncio.gather(*small)
    assert [len(batch) for batch in gated.appended] == [BATCH_RECORDS_MAX, 1]
    gated.appended.clear()
    large = [batcher.submit(0, b"s", b"x" * (BATCH_BYTES_MAX // 2)) for _ in range(5)]
    await asyncio.gather(*large)
    assert [len(batch) for batch in gated.appended] == [2, 2, 1]


async def test_no_position_where_the_log_tells_none(gated: GatedLog, batcher: Batcher) -> None:
    """A batch that was acknowledged without its position is acknowledged all the same."""
    gated.tells_position = False
    assert await batcher.submit(0, b"s", b"a") is None


async def test_failed_append_fails_all_its_waiters_and_no_later_one(
    gated: GatedLog, batcher: Batcher
) -> None:
    """Whatever the log raises, the outcome is unknown to those in the batch, and the next batch gets its chance."""
    for error in (LogUnavailableError("away"), RuntimeError("a bug")):
        gated.error = error
        futures = [batcher.submit(0, b"s", b"a") for _ in range(3)]
        for outcome in await asyncio.gather(*futures, return_exceptions=True):
            assert isinstance(outcome, LogUnavailableError)
            assert not isinstance(outcome, NotTakenError)
    gated.error = None
    assert await batcher.submit(0, b"s", b"b") is not None
    assert batcher.waiting == 0


async def test_past_the_deadline_the_queue_is_left_unsent(
    gated: GatedLog, batcher: Batcher
) -> None:
    """In flight the outcome is unknown; in the queue it is known: never sent."""
    gated.gate.clear()
    in_flight = batcher.submit(0, b"s", b"in-flight")
    await asyncio.sleep(0.01)
    queued = batcher.submit(0, b"s", b"queued")
    with pytest.raises(LogUnavailableError) as unknown:
        await asyncio.wait_for(in_flight, 2)
    assert not isinstance(unknown.value, NotTakenError)
    with pytest.raises(NotTakenError):
        await asyncio.wait_for(queued, 2)
    gated.gate.set()
    await batcher.submit(0, b"s", b"after")
    assert gated.appended == [[b"in-flight"], [b"after"]]


async def test_full_queue_refuses_at_once(gated: GatedLog) -> None:
    """Beyond its bound the queue takes nothing, and says that it was not taken."""
    gated.gate.clear()
    batcher = Batcher(gated, waiters_max=2)
    taken = [batcher.submit(0, b"s", b"a"), batcher.submit(0, b"s", b"b")]
    with pytest.raises(NotTakenError):
        batcher.submit(0, b"s", b"c")
    gated.gate.set()
    await asyncio.gather(*taken)
    assert gated.appended == [[b"a", b"b"]]
    await batcher.close()


async def test_outcomes_are_told(gated: GatedLog) -> None:
    """Readiness hears of every append."""
    heard: list[tuple[int, UnavailableError | None]] = []
    batcher = Batcher(gated, lambda partition, error: heard.append((partition, error)))
    await batcher.submit(3, b"s", b"a")
    gated.error = LogUnavailableError("away")
    await asyncio.gather(batcher.submit(5, b"s", b"b"), return_exceptions=True)
    assert heard == [(3, None), (5, gated.error)]
    await batcher.close()


async def test_drain_waits_for_all_partitions(gated: GatedLog, batcher: Batcher) -> None:
    """After drain nothing waits any more."""
    futures = [batcher.submit(partition, b"s", b"a") for partition in range(4)]
    await batcher.drain()
    assert all(future.done() for future in futures)
    await asyncio.gather(*futures)
    assert len(gated.appended) == 4


async def test_close_tells_everybody(gated: GatedLog, batcher: Batcher) -> None:
    """Nobody is left waiting by a process that stops."""
    gated.gate.clear()
    futures = [batcher.submit(0, b"s", b"a")]
    await asyncio.sleep(0.01)
    futures.append(batcher.submit(0, b"s", b"b"))
    await batcher.close()
    for outcome in await asyncio.gather(*futures, return_exceptions=True):
        assert isinstance(outcome, LogUnavailableError)


async def test_the_bound_is_the_process_s_over_all_partitions(gated: GatedLog) -> None:
    """Sixteen partitions hold no more than one, and what leaves makes room."""
    gated.gate.clear()
    batcher = Batcher(gated, waiters_max=4)
    taken = [batcher.submit(partition, b"s", b"a") for partition in range(4)]
    with pytest.raises(NotTakenError):
        batcher.submit(4, b"s", b"b")
    gated.gate.set()
    await asyncio.gather(*taken)
    assert batcher.waiting == 0
    await batcher.submit(4, b"s", b"c")
    await batcher.close()


async def test_nobody_joins_while_an_append_is_overdue(
    gated: GatedLog, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that hangs costs its senders a wait once; other partitions are not held up."""
    monkeypatch.setattr("services.ingest.batcher.OVERDUE_SECONDS", 0.05)
    gated.gate.clear()
    hung = batcher.submit(0, b"s", b"hung")
    await asyncio.sleep(0.1)
    with pytest.raises(NotTakenError, match="does not acknowledge"):
        batcher.submit(0, b"s", b"late")
    other = batcher.submit(1, b"s", b"other partition")
    gated.gate.set()
    await asyncio.gather(hung, other)
    await batcher.submit(0, b"s", b"after")
    assert gated.appended == [[b"hung"], [b"other partition"], [b"after"]]


async def test_a_slow_log_gets_what_it_can_take_in_time(
    gated: GatedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue shrinks to what a slow log takes in a second, and grows again once it is fast."""
    monkeypatch.setattr("services.ingest.batcher.SLOW_SECONDS", 0.02)
    monkeypatch.setattr("services.ingest.batcher.ROOM_MIN", 10)
    monkeypatch.setattr("services.ingest.batcher.ROOM_SECONDS", 0.0)
    batcher = Batcher(gated)
    gated.gate.clear()
    slow = [batcher.submit(0, b"s", b"slow") for _ in range(100)]
    await asyncio.sleep(0.1)
    gated.gate.set()
    await asyncio.gather(*slow)
    gated.gate.clear()
    gated.appended.clear()
    taken = [batcher.submit(0, b"s", b"%d" % n) for n in range(10)]
    with pytest.raises(NotTakenError, match="too many"):
        batcher.submit(0, b"s", b"refused at once")
    gated.gate.set()
    await asyncio.gather(*taken)
    assert [len(batch) for batch in gated.appended] == [5, 5]
    assert len([batcher.submit(0, b"s", b"x") for _ in range(40)]) == 40
    await batcher.drain()
    await batcher.close()


async def test_after_a_failed_append_few_wait_for_the_next(
    gated: GatedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a log is away each try takes a few along, not all the traffic of its time-out."""
    monkeypatch.setattr("services.ingest.batcher.ROOM_MIN", 3)
    batcher = Batcher(gated)
    gated.error = LogUnavailableError("away")
    await asyncio.gather(batcher.submit(0, b"s", b"a"), return_exceptions=True)
    gated.error = None
    taken = [batcher.submit(0, b"s", b"b") for _ in range(3)]
    with pytest.raises(NotTakenError):
        batcher.submit(0, b"s", b"c")
    await asyncio.gather(*taken)
    await batcher.close()


async def test_an_acknowledged_append_is_measured(gated: GatedLog) -> None:
    """Its records, its time, and how long its oldest record had waited; one that failed is not."""
    heard: list[tuple[int, float, float]] = []
    batcher = Batcher(gated, measure=lambda *measured: heard.append(measured))
    await asyncio.gather(*(batcher.submit(0, b"s", b"1") for _ in range(4)))
    assert sum(records for records, _, _ in heard) == 4
    assert all(0 <= seconds <= waited < 60 for _, seconds, waited in heard)
    gated.error = LogUnavailableError("away")
    with pytest.raises(LogUnavailableError):
        await batcher.submit(0, b"s", b"5")
    await batcher.close()
    assert sum(records for records, _, _ in heard) == 4
