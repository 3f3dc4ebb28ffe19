"""Server-sent events: `counters` at once and on change, at most one a second (WHATWG HTML, section 9.2).

One publisher for all who follow the same numbers reads and renders them, and offers the bytes to each subscriber, who has room for
one event: a slow client misses what came in between, never the latest. The route is bare ASGI: ten thousand clients wait here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice

from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from services.api.metrics import ApiMetrics
from services.api.reading import CORS, Key, Readings, Rendered
from services.runtime.health import Health
from services.runtime.problem import ProblemError

CHANGE_SECONDS = 1.0
"""A subscriber gets one event in this time at most."""

POLL_SECONDS_MIN = 0.25
READINGS_PER_SECOND = 160
"""Publishers read the store this often together, while each still reads it once a second."""

KEEP_ALIVE_SECONDS = 15.0
RETRY_MS = 5_000
STUCK_SECONDS = 30.0
"""A client that takes nothing for so long is let go."""

SLICE = 200
"""So many subscribers are woken before other requests have their turn."""

PREAMBLE = f"retry: {RETRY_MS}\n\n".encode()
KEEP_ALIVE = b": still here\n\n"
HEADERS = CORS | {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()],
}


class Subscriber:
    """One client's room for one event."""

    __slots__ = ("_event", "_is_closed", "_waiter")

    def __init__(self) -> None:
        """Begin without an event."""
        self._event = b""
        self._is_closed = False
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, event: bytes) -> None:
        """Put an event in the place of one that was not taken yet."""
        self._event = event
        self._wake()

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._wake()

    async def take(self) -> bytes | None:
        """Wait for the latest event; `None` at the end of the stream."""
        while not self._is_closed:
            if self._event:
                event, self._event = self._event, b""
                return event
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Publisher:
    """Reads one site's numbers for all who follow them, for as long as somebody does."""

    def __init__(self, streams: Streams, key: Key) -> None:
        """Begin without subscribers."""
        self._streams = streams
        self._key = key
        self.subscribers: dict[Subscriber, None] = {}
        self._first: tuple[Rendered, bytes] | None = None
        self._tag = ""
        self._told_at = 0.0

    async def run(self) -> None:
        """Publish until nobody follows, the site is gone, or the process drains."""
        draining = self._streams.health.draining
        try:
            while self.subscribers and not draining.is_set() and await self._turn():
                try:
                    await asyncio.wait_for(draining.wait(), self._streams.poll_seconds)
                except TimeoutError:
                    continue
        finally:
            self._streams.forget(self._key)
            for subscriber in self.subscribers:
                subscriber.close()

    async def _turn(self) -> bool:
        """Read once and tell what is new; claim that the site is still there."""
        readings = self._streams.readings
        site = readings.configuration.sites.get(self._key.site)
        if site is None:
            return False
        try:
            rendered = await readings.rendered(site, self._key.metric, self._key.windows)
        except ProblemError:
            # Nothing was counted yet: whoever follows hears of it when there is something.
            return True
        waited = time.monotonic() - self._told_at
        if rendered.tag != self._tag and waited >= CHANGE_SECONDS:
            self._tag = rendered.tag
            await self._tell(event_of(rendered))
        elif waited >= KEEP_ALIVE_SECONDS:
            await self._tell(KEEP_ALIVE)
        return True

    async def welcome(self) -> bytes:
        """Return what somebody new is told first: never older than what the api told anybody; empty where all will be told at once."""
        site = self._streams.readings.configuration.sites.get(self._key.site)
        if site is None or not self._tag:
            return b""
        rendered = await self._streams.readings.rendered(site, self._key.metric, self._key.windows)
        if self._first is None or self._first[0] is not rendered:
            # One text for all who come now: each keeps the last one it was sent.
            self._first = (rendered, event_of(rendered))
        return self._first[1]

    async def _tell(self, event: bytes) -> None:
        self._told_at = time.monotonic()
        for group in _slices(self.subscribers):
            for subscriber in group:
                subscriber.offer(event)
            await asyncio.sleep(0)


class Streams:
    """All open streams of this process."""

    def __init__(self, readings: Readings, health: Health, metrics: ApiMetrics) -> None:
        """Begin with none."""
        self.readings = readings
        self.health = health
        self._metrics = metrics
        self._publishers: dict[Key, tuple[Publisher, asyncio.Task[None]]] = {}
        self._open = 0

    @property
    def has_room(self) -> bool:
        """Claim that one more stream may begin."""
        return (
            not self.health.draining.is_set()
            and self._open < self.readings.configuration.settings.server.max_streams
        )

    @property
    def poll_seconds(self) -> float:
        """How long a publisher waits between two readings: the longer, the more publishers there are."""
        wished = len(self._publishers) / READINGS_PER_SECOND
        return min(CHANGE_SECONDS, max(POLL_SECONDS_MIN, wished))

    async def serve(self, key: Key, receive: Receive, send: Send) -> None:
        """Serve one client until it goes, is stuck, or the process drains; there must be room."""
        publisher = self._publisher(key)
        subscriber = Subscriber()
        publisher.subscribers[subscriber] = None
        self._count(+1)
        watch = asyncio.create_task(_watch(receive, subscriber))
        try:
            await send(_START)
            await send({"type": "http.response.body", "body": PREAMBLE, "more_body": True})
            if first := await publisher.welcome():
                subscriber.offer(first)
            while (event := await subscriber.take()) is not None:
                async with asyncio.timeout(STUCK_SECONDS):
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return
        finally:
            watch.cancel()
            publisher.subscribers.pop(subscriber, None)
            self._count(-1)

    async def close(self) -> None:
        """End all publishers."""
        tasks = [task for _, task in self._publishers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self, key: Key) -> None:
        """Take note that a publisher has ended."""
        self._publishers.pop(key, None)

    def _publisher(self, key: Key) -> Publisher:
        found = self._publishers.get(key)
        if found is None:
            publisher = Publisher(self, key)
            task = asyncio.create_task(publisher.run(), name=f"stream of {key.site}")
            found = self._publishers[key] = (publisher, task)
        return found[0]

    def _count(self, more: int) -> None:
        self._open += more
        self._metrics.streams.set(self._open)
        if more > 0:
            self._metrics.note("stream", 200)


class StreamResponse(Response):
    """A stream as a response of FastAPI, for requests that come the long way."""

    def __init__(self, streams: Streams, key: Key) -> None:
        """Take what is to be followed."""
        super().__init__(media_type="text/event-stream")
        self._streams = streams
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI
        """Serve the stream (ASGI)."""
        await self._streams.serve(self._key, receive, send)


def event_of(rendered: Rendered) -> bytes:
    """Return numbers as an event."""
    return b"event: counters\ndata: " + rendered.body + b"\n\n"


async def _watch(receive: Receive, subscriber: Subscriber) -> None:
    """End the stream when the client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.close()


def _slices(subscribers: dict[Subscriber, None]) -> Iterator[list[Subscriber]]:
    """Yield those who are there now, some at a time."""
    everybody = iter(list(subscribers))
    while group := list(islice(everybody, SLICE)):
        yield group
