"""The reading routes on a real store: numbers equal naive sums, late ones say so, and nothing is ever a false 0."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import as_log, view
from visits.codec import LogRecord
from visits.errors import StoreUnavailableError

PATH = "/v1/sites/demo/counters"
SECOND_MS, DAY_MS = 1_000, 86_400_000


def some_views(now: int) -> list[LogRecord]:
    """Ten views of five readers, two each: now, and 1, 8, 40 and 400 days ago; pages `/0` and `/1`."""
    ages = [400, 40, 8, 1, 0]
    return as_log(
        [
            view(
                now - age * DAY_MS - (2 - n) * SECOND_MS,
                id=f"event-{age:03d}-{n}",
                site="demo",
                page=f"/{n}",
                visitor=f"{age:016x}",
            )
            for age in ages
            for n in range(2)
        ]
    )


async def test_counters_are_the_naive_sums(api: Api) -> None:
    """Each window holds exactly what lies in it, and visits of two views are one."""
    await api.seed(some_views(now_ms()))
    visits = (await api.get(PATH)).json
    views = (await api.get(PATH, "metric=views")).json
    names = ("online", "week", "month", "year", "total")
    assert [visits[name] for name in names] == [1, 2, 3, 4, 5]
    assert [views[name] for name in names] == [1, 4, 6, 8, 10]
    assert (visits["metric"], visits["windows"], visits["stale"]) == ("visits", "rolling", False)
    assert visits["periods"]["week"]["to"].endswith("+07:00")


async def test_the_short_way_and_the_long_way_answer_alike(api: Api) -> None:
    """HEAD goes through the routes of FastAPI: same tag and same policy as the short way."""
    await api.seed(some_views(now_ms()))
    short, long = await api.get(PATH), await api.get(PATH, method="HEAD")
    for name in ("etag", "cache-control", "access-control-allow-origin", "content-type"):
        assert short.headers[name] == long.headers[name]


async def test_who_has_the_numbers_gets_304(api: Api) -> None:
    """The tag follows the numbers and not the moment, also weak and in a list."""
    await api.seed(some_views(now_ms()))
    tag = (await api.get(PATH)).headers["etag"]
    await asyncio.sleep(0.06)
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await api.get(PATH, if_none_match=sent)
        assert (answer.status, answer.body) == (304, b"")
    assert (await api.get(PATH, if_none_match='"other"')).status == 200
    assert (await api.get(PATH, "metric=views", if_none_match=tag)).status == 200


async def test_nothing_counted_is_503_never_0(api: Api) -> None:
    """Without meta the answer is the problem `starting`."""
    answer = await api.get(PATH)
    assert (answer.status, answer.json["reason"]) == (503, "starting")
    assert answer.headers["retry-after"]


async def test_refusals_are_problems(api: Api) -> None:
    """Unknown sites, values and foreign positions are named as such."""
    await api.seed(some_views(now_ms()))
    assert (await api.get("/v1/sites/nobody/counters")).status == 404
    for query in ("metric=likes", "windows=odd", "after=x", "after=1:5", "after=0:-1"):
        answer = await api.get(PATH, query)
        assert (answer.status, answer.json["reason"]) == (400, "malformed"), query


async def test_after_says_whether_the_record_is_counted(api: Api) -> None:
    """Position 9 is the last one counted; 10 is waited for, then said to be missing."""
    await api.seed(some_views(now_ms()))
    reached, missing = await api.get(PATH, "after=0:9"), await api.get(PATH, "after=0:10")
    assert (reached.json["after"], missing.json["after"]) == (True, False)
    assert reached.headers["cache-control"] == "no-store"


async def test_pages_under_the_strings_asked(api: Api) -> None:
    """A page never seen is 0, one without a counter of its own is null."""
    await api.seed(some_views(now_ms()))
    query = "page=/0&page=//0/&page=/none&page=/hidden&page=nonsense"
    answer = await api.get("/v1/sites/demo/pages", query)
    assert answer.json["pages"] == {
        "/0": 5,
        "//0/": 5,
        "/none": 0,
        "/hidden": None,
        "nonsense": None,
    }
    too_many = "&".join(f"page=/{n}" for n in range(101))
    assert (await api.get("/v1/sites/demo/pages", too_many)).status == 400


async def test_a_page_that_may_be_in_other_is_null(api: Api) -> None:
    """Once `(other)` has views, an absent page is not told to be 0."""
    now = now_ms()
    await api.seed(
        as_log([view(now, id="event-long", site="demo", page="(other)", visitor="a" * 16)])
    )
    assert (await api.get("/v1/sites/demo/pages", "page=/none")).json["pages"] == {"/none": None}


async def test_a_store_that_is_away_leaves_the_last_numbers_stale(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last good numbers stand, say that they are late, and grow older; one that hangs is not waited for."""
    await api.seed(some_views(now_ms()))
    good = (await api.get(PATH)).json

    async def away(*_: object) -> None:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(api.store, "read_counters", away)
    await asyncio.sleep(0.06)
    late = (await api.get(PATH)).json
    assert (late["total"], late["stale"]) == (good["total"], True)
    assert late["lag_seconds"] > good["lag_seconds"]

    async def hangs(*_: object) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(api.store, "read_counters", hangs)
    await asyncio.sleep(0.06)
    assert (await api.get(PATH)).json["stale"] is True


async def test_a_store_that_went_back_is_not_believed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lower position of the same log and generation leaves the last good numbers, stale."""
    await api.seed(some_views(now_ms()))
    good = (await api.get(PATH)).json
    read = api.store.read_counters

    async def earlier(*asked: Any) -> Any:
        reading = await read(*asked)
        assert reading is not None
        values = tuple(0 for _ in reading.values)
        return msgspec.structs.replace(reading, head_position=3, values=values)

    monkeypatch.setattr(api.store, "read_counters", earlier)
    await asyncio.sleep(0.06)
    late = (await api.get(PATH)).json
    assert (late["total"], late["stale"]) == (good["total"], True)


async def test_a_stream_tells_the_numbers_and_ends_on_drain(api: Api) -> None:
    """The first event comes at once, and SIGTERM does not wait for readers."""
    await api.seed(some_views(now_ms()))
    asyncio.get_running_loop().call_later(0.2, api.health.draining.set)
    answer = await api.get("/v1/sites/demo/stream")
    assert answer.headers["x-accel-buffering"] == "no"
    lines = answer.body.decode().split("\n")
    assert lines[0] == "retry: 5000"
    data = next(line for line in lines if line.startswith("data: "))
    assert msgspec.json.decode(data.removeprefix("data: "))["total"] == 5
    assert (await api.get("/v1/sites/demo/stream")).status == 503


async def test_head_of_a_stream_ends(api: Api) -> None:
    """HEAD answers the headers and holds nothing open."""
    await api.seed(some_views(now_ms()))
    assert (await api.get("/v1/sites/demo/stream", method="HEAD")).body == b""
