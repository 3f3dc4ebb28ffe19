"""A store that hangs hangs nobody who asks."""

from __future__ import annotations

import asyncio

import pytest

from services.api import patience
from services.api.patience import Patience
from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.unit.services.api.test_part import some_views
from visits.errors import StoreUnavailableError


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(patience, "LATE_MAX", 2)


async def test_what_comes_in_time_is_returned_or_raised() -> None:
    """A reading's value and its error are its own."""

    async def value() -> int:
        return 7

    async def error() -> int:
        raise KeyError("mine")

    waiting = Patience()
    assert await waiting.wait(value()) == 7
    with pytest.raises(KeyError):
        await waiting.wait(error())


async def test_what_hangs_is_left_alone_and_asked_no_more() -> None:
    """A late reading ends by itself; while too many are late nothing new is begun."""
    gate, begun = asyncio.Event(), 0

    async def hangs() -> None:
        nonlocal begun
        begun += 1
        await gate.wait()
        raise StoreUnavailableError("late")

    waiting = Patience()
    for _ in range(4):
        with pytest.raises(StoreUnavailableError, match=r"(did|does) not answer"):
            await waiting.wait(hangs())
    assert begun == 2
    gate.set()
    await asyncio.sleep(0.01)
    with pytest.raises(StoreUnavailableError, match="late"):
        await waiting.wait(hangs())
    assert begun == 3


@pytest.mark.parametrize("query", ["page=/0", "page=/0&after=0:9"])
async def test_pages_of_a_store_that_hangs_are_503(
    query: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no last good answer for every set of pages: told soon, with when to come again."""
    await api.seed(some_views(now_ms()))

    async def hangs(*_: object) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(api.store, "read_pages", hangs)
    monkeypatch.setattr(api.store, "head", hangs)
    async with asyncio.timeout(5):
        answer = await api.get("/v1/sites/demo/pages", query)
    assert (answer.status, answer.json["reason"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
