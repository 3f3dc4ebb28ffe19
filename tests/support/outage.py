"""What a sender and a reader see while a part is away: one look after the other, and the sum of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.support.load import HUMAN, Outcome
from tests.support.visit_counter import Service

LOOK_SECONDS = 0.25
ANSWER_SECONDS = 20.0
"""How long an answer is waited for; one that takes longer is a failure of its own."""


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        status: of HTTP; 0: none came.
        seconds: how long it took.
        headers: of the answer, names in lower case.
        body: the JSON, or `None`.
    """

    status: int
    seconds: float
    headers: dict[str, str]
    body: dict[str, Any] | None


@dataclass
class Seen:
    """Everything seen in a while.

    Attributes:
        posts: view id → its one answer; not tried again.
        readings: URL → answers to its reading.
        livez: statuses of ingest's /livez.
        readyz: statuses of ingest's /readyz.
        resident_bytes: memory of the ingest process at each look.
        waiting: records waiting in ingest at each look.
    """

    posts: dict[str, Answer] = field(default_factory=dict)
    readings: dict[str, list[Answer]] = field(default_factory=dict)
    livez: Counter[int] = field(default_factory=Counter)
    readyz: Counter[int] = field(default_factory=Counter)
    resident_bytes: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """HTTP status of the posts → how many."""
        return Counter(answer.status for answer in self.posts.values())

    def join(self, outcome: Outcome) -> None:
        """Add the posts to a load's outcome: acknowledged, or unknown."""
        for event_id, answer in self.posts.items():
            if answer.status == HTTPStatus.ACCEPTED:
                assert answer.body is not None
                outcome.positions[event_id] = answer.body.get("position")
            else:
                outcome.unknown.add(event_id)

    def told(self) -> str:
        """Return one line of figures for people."""
        posts = sorted(answer.seconds for answer in self.posts.values())
        line = (
            f"{len(posts)} single posts {dict(self.statuses)}, longest {posts[-1]:.2f} s, "
            f"median {posts[len(posts) // 2]:.3f} s; ingest's memory at most {max(self.resident_bytes) / 2**20:.0f} MiB, "
            f"waiting at most {max(self.waiting)}"
        )
        for url, answers in self.readings.items():
            longest = max(answer.seconds for answer in answers)
            statuses = dict(Counter(answer.status for answer in answers))
            line += f"; {len(answers)} readings of {urlsplit(url).path} {statuses}, longest {longest:.2f} s"
        return line


async def watch(
    ingest: Service, site: str, seconds: float, *, name: str, urls: Sequence[str] = ()
) -> Seen:
    """Post views one by one, read, and look at the process, for some seconds.

    Args:
        ingest: where to post.
        site: for which site.
        seconds: how long.
        name: the ids begin with it.
        urls: what to read.
    """
    seen = Seen()
    until = time.monotonic() + seconds
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
        number = 0
        while time.monotonic() < until:
            number += 1
            tasks.create_task(_post(session, ingest, site, f"{name}-{number:05d}", seen))
            tasks.create_task(_look(session, ingest, seen))
            for url in urls:
                tasks.create_task(_read(session, url, seen))
            await asyncio.sleep(LOOK_SECONDS)
    return seen


async def get(url: str) -> Answer:
    """GET once."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return await _ask(session, "GET", url)


async def _post(
    session: aiohttp.ClientSession, ingest: Service, site: str, event_id: str, seen: Seen
) -> None:
    body = json.dumps({"site": site, "page": "/watched", "id": event_id})
    seen.posts[event_id] = await _ask(
        session, "POST", f"{ingest.base_url}/v1/views", data=body, headers={"User-Agent": HUMAN}
    )


async def _read(session: aiohttp.ClientSession, url: str, seen: Seen) -> None:
    seen.readings.setdefault(url, []).append(await _ask(session, "GET", url))


async def _look(session: aiohttp.ClientSession, ingest: Service, seen: Seen) -> None:
    seen.livez[(await _ask(session, "GET", f"{ingest.base_url}/livez")).status] += 1
    seen.readyz[(await _ask(session, "GET", f"{ingest.base_url}/readyz")).status] += 1
    seen.resident_bytes.append(ingest.resident_bytes())
    seen.waiting.append(int(await asyncio.to_thread(ingest.metric, "visit_counter_in_flight")))


async def _ask(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Answer:
    began = time.monotonic()
    try:
        async with session.request(method, url, **options) as response:
            content = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = json.loads(content) if "json" in headers.get("content-type", "") else None
            return Answer(response.status, time.monotonic() - began, headers, body)
    except (aiohttp.ClientError, TimeoutError):
        return Answer(0, time.monotonic() - began, {}, None)
