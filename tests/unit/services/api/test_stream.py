"""Streams without a socket: the latest event wins, the stuck are let go, and many publishers read less often."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from services.api import stream as stream_module
from services.api.reading import Key
from services.api.stream import CHANGE_SECONDS, POLL_SECONDS_MIN, Publisher, Subscriber
from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import view
from visits.counters import Metric
from visits.window import Windows

KEY = Key("demo", Metric.VIEWS, Windows.ROLLING)


async def never() -> MutableMapping[str, Any]:
    """Stay connected and say nothing."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_subscriber_has_room_for_the_latest_event() -> None:
    """What came in between is not told, and an end ends."""
    subscriber = Subscriber()
    subscriber.offer(b"first")
    assert await subscriber.take() == b"first"
    subscriber.offer(b"second")
    subscriber.offer(b"third")
    assert await subscriber.take() == b"third"
    taking = asyncio.create_task(subscriber.take())
    await asyncio.sleep(0)
    subscriber.offer(b"fourth")
    assert await taking == b"fourth"
    subscriber.close()
    assert await subscriber.take() is None


async def test_a_client_that_takes_nothing_is_let_go(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its room is free again."""
    await api.count(view(now_ms(), id="event-0001", site="demo"))
    monkeypatch.setattr(stream_module, "STUCK_SECONDS", 0.01)

    async def send(message: MutableMapping[str, Any]) -> None:
        if b"event: counters" in message.get("body", b""):
            await asyncio.Event().wait()

    streams = api.part._streams
    await asyncio.wait_for(streams.serve(KEY, never, send), 5)
    assert api.registry.get_sample_value("visit_counter_sse_clients") == 0


async def test_silence_is_kept_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment goes out while nothing changes, so that proxies keep the connection."""
    await api.count(view(now_ms(), id="event-0001", site="demo"))
    monkeypatch.setattr(stream_module, "KEEP_ALIVE_SECONDS", 0.0)
    sent: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if sent[-1] == stream_module.KEEP_ALIVE:
            api.health.draining.set()

    await asyncio.wait_for(api.part._streams.serve(KEY, never, send), 5)
    assert sent[1].startswith(b"retry: ")
    assert sent[2].startswith(b"event: counters\ndata: {")
    assert sent[-1] == b""


async def test_a_new_stream_begins_with_nothing_older_than_was_answered(api: Api) -> None:
    """Whoever was told a number that includes his view sees none without it, though others follow already."""
    await api.count(view(now_ms(), id="event-0001", site="demo"))
    streams = api.part._streams
    followers: list[asyncio.Task[None]] = []

    def follow() -> asyncio.Queue[bytes]:
        told: asyncio.Queue[bytes] = asyncio.Queue()

        async def send(message: MutableMapping[str, Any]) -> None:
            if b"event: counters" in message.get("body", b""):
                told.put_nowait(message["body"])

        followers.append(asyncio.create_task(streams.serve(KEY, never, send)))
        return told

    assert b'"total":1,' in await follow().get()
    await api.count(view(now_ms(), id="event-0002", site="demo"))
    query = "metric=views&after=0:1"
    assert (await api.get("/v1/sites/demo/counters", query)).json["total"] == 2
    assert (await api.get("/v1/sites/demo/counters", "metric=views")).json["total"] == 2
    assert b'"total":2,' in await follow().get()
    api.health.draining.set()
    await asyncio.gather(*followers)


async def test_a_reading_that_was_overtaken_is_not_told(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began before another one and ends after it: the newer numbers stand, and are not stale."""
    await api.count(view(now_ms(), id="event-0001", site="demo"))
    readings, store = api.part._streams.readings, api.store
    site = readings.site("demo")
    may_end = asyncio.Event()
    read = store.read_counters

    async def read_slowly(*arguments: Any) -> Any:
        found = await read(*arguments)
        await may_end.wait()
        return found

    monkeypatch.setattr(store, "read_counters", read_slowly)
    slow = asyncio.create_task(readings.rendered(site, KEY.metric, KEY.windows))
    await asyncio.sleep(0.1)
    monkeypatch.setattr(store, "read_counters", read)
    await api.count(view(now_ms(), id="event-0002", site="demo"))
    assert (await readings.read_after(site, KEY.metric, KEY.windows)).numbers["total"] == 2
    may_end.set()
    answer = (await slow).answer
    assert (answer.numbers["total"], answer.stale) == (2, False)


async def test_many_publishers_read_less_often(api: Api) -> None:
    """Together some times a second, each once a second at least."""
    streams = api.part._streams
    assert streams.poll_seconds == POLL_SECONDS_MIN
    task = asyncio.create_task(asyncio.sleep(0))
    for n in range(1_000):
        key = Key(f"site-{n}", Metric.VIEWS, Windows.ROLLING)
        streams._publishers[key] = (Publisher(streams, key), task)
    assert streams.poll_seconds == CHANGE_SECONDS
    streams._publishers.clear()
    await task


async def test_what_has_not_changed_is_not_told_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readings go on, events do not."""
    await api.count(view(now_ms(), id="event-0001", site="demo"))
    monkeypatch.setattr(stream_module, "CHANGE_SECONDS", 0.0)
    streams = api.part._streams
    publisher = Publisher(streams, KEY)
    told: list[bytes] = []
    subscriber = Subscriber()
    monkeypatch.setattr(Subscriber, "offer", lambda _self, event: told.append(event))
    publisher.subscribers[subscriber] = None
    for _ in range(3):
        assert await publisher._turn()
    assert len(told) == 1
    await api.count(view(now_ms(), id="event-0002", site="demo"))
    api.part._readings._read_at.clear()
    assert await publisher._turn()
    assert len(told) == 2
