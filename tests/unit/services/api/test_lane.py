"""The lane: costly answers are drawn up once for all who ask, few at a time, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.api import lane as lane_module
from services.api.lane import Kept, Lane
from services.runtime.problem import ProblemError
from visits.errors import StoreUnavailableError


class Work:
    """Answers that are complete when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done = asyncio.Event()

    def of(self, name: str) -> Callable[[], Awaitable[str]]:
        async def make() -> str:
            self.begun.append(name)
            await self.done.wait()
            return f"{name} {len(self.begun)}"

        return make


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_who_ask_share_one_answer() -> None:
    """It is drawn up once, and given out again while it is fresh."""
    lane: Lane[str] = Lane(at_once=4)
    work = Work()
    asking = [asyncio.create_task(lane.get("a", work.of("a"))) for _ in range(5)]
    await settled()
    work.done.set()
    assert {kept.value for kept in await asyncio.gather(*asking)} == {"a 1"}
    assert (await lane.get("a", work.of("a"))).value == "a 1"
    assert work.begun == ["a"]


async def test_a_few_at_a_time() -> None:
    """The others wait for their turn."""
    lane: Lane[str] = Lane(at_once=2)
    work = Work()
    asking = [asyncio.create_task(lane.get(name, work.of(name))) for name in "abc"]
    await settled()
    assert work.begun == ["a", "b"]
    work.done.set()
    await asyncio.gather(*asking)
    assert work.begun == ["a", "b", "c"]


async def test_who_goes_leaves_the_answer_to_the_others() -> None:
    """A client's disconnect ends nobody else's answer."""
    lane: Lane[str] = Lane(at_once=1)
    work = Work()
    one, two = (asyncio.create_task(lane.get("a", work.of("a"))) for _ in range(2))
    await settled()
    one.cancel()
    work.done.set()
    assert (await two).value == "a 1"


async def test_what_takes_long_is_answered_late_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """503 where there is none yet, then the last one, which says that it is late."""
    monkeypatch.setattr(lane_module, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(lane_module, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(lane_module, "FRESH_TIMES", 0)
    lane: Lane[str] = Lane(at_once=1)
    work = Work()
    with pytest.raises(ProblemError) as error:
        await lane.get("a", work.of("a"))
    assert (error.value.status, "Retry-After" in error.value.headers) == (503, True)
    work.done.set()
    await settled()
    work.done.clear()
    kept = await lane.get("a", work.of("a"))
    assert (kept.value, kept.is_late) == ("a 1", True)
    await lane.close()


async def test_a_store_that_is_away_leaves_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, the error is told; other errors are told always."""
    monkeypatch.setattr(lane_module, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(lane_module, "FRESH_TIMES", 0)
    lane: Lane[str] = Lane(at_once=1)

    async def away() -> str:
        raise StoreUnavailableError("away")

    async def wrong() -> str:
        raise ProblemError("starting", "nothing is counted", status=503)

    async def good() -> str:
        return "good"

    with pytest.raises(StoreUnavailableError):
        await lane.get("a", away)
    assert not (await lane.get("a", good)).is_late
    kept = await lane.get("a", away)
    assert (kept.value, kept.is_late) == ("good", True)
    with pytest.raises(ProblemError):
        await lane.get("a", wrong)


async def test_too_many_different_answers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded, and so is what is kept."""
    monkeypatch.setattr(lane_module, "WAITING_MAX", 2)
    monkeypatch.setattr(lane_module, "KEPT_MAX", 1)
    lane: Lane[str] = Lane(at_once=1)
    work = Work()
    asking = [asyncio.create_task(lane.get(name, work.of(name))) for name in "ab"]
    await settled()
    with pytest.raises(ProblemError):
        await lane.get("c", work.of("c"))
    work.done.set()
    await asyncio.gather(*asking)
    assert list(lane._kept) == ["b"]


async def test_a_lane_rests_after_each_answer() -> None:
    """The next one begins only after a pause in proportion to the time the last one took."""
    lane: Lane[str] = Lane(at_once=1, rest=1_000_000.0)
    work = Work()
    work.done.set()
    await lane.get("a", work.of("a"))
    waiting = asyncio.create_task(lane.get("b", work.of("b")))
    await settled()
    assert work.begun == ["a"]
    waiting.cancel()
    await lane.close()


async def test_who_has_less_patience_gets_the_last_one_sooner() -> None:
    """The answer is drawn up to its end all the same, for the next who asks."""
    lane: Lane[str] = Lane(at_once=1)
    first, second = Work(), Work()
    first.done.set()
    await lane.get("a", first.of("a"))
    lane._kept["a"] = Kept("a 1", fresh_until=0.0)
    late = await lane.get("a", second.of("again"), 0.0)
    assert (late.value, late.is_late) == ("a 1", True)
    second.done.set()
    await settled()
    assert (await lane.get("a", first.of("a"))).value == "again 1"
