"""A client that sends views on a fixed schedule and repeats unknown outcomes with the same id, as the widget does."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

HUMAN = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
IN_FLIGHT_MAX = 2_000
TRIES_SECONDS = 90.0
"""How long a view is tried before it is given up as unknown."""


@dataclass(frozen=True)
class Visit:
    """One view to send."""

    id: str
    site: str
    page: str
    address: str
    agent: str = HUMAN


@dataclass
class Outcome:
    """What became of the views.

    Attributes:
        positions: id → position, of views that were acknowledged as counted.
        refused: reason → how many.
        unknown: ids without any answer.
        statuses: HTTP status (0: no answer) → how many answers.
        seconds: how long it took.
    """

    positions: dict[str, str | None] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


def draw_visits(
    seed: int, count: int, sites: list[str], *, readers: int = 2_000, pages: int = 50
) -> list[Visit]:
    """Draw views: seeded, every one with an id of its own."""
    rng = random.Random(seed)
    return [
        Visit(
            id=f"view-{seed}-{number:06d}",
            site=rng.choice(sites),
            page=f"/tin-tuc/bai-{rng.randrange(pages)}",
            address=f"198.51.{(reader := rng.randrange(readers)) // 250}.{reader % 250 + 1}",
        )
        for number in range(count)
    ]


async def send(base_url: str, visits: list[Visit], rate: float) -> Outcome:
    """Send views, one every 1/`rate` s; each is tried until it is answered or `TRIES_SECONDS` have passed."""
    outcome = Outcome()
    gate = asyncio.Semaphore(IN_FLIGHT_MAX)
    timeout = aiohttp.ClientTimeout(total=5)
    began = time.monotonic()
    async with (
        aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=200)
        ) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for number, visit in enumerate(visits):
            late = began + number / rate - time.monotonic()
            if late > 0:
                await asyncio.sleep(late)
            await gate.acquire()
            task = tasks.create_task(_send_one(session, base_url, visit, outcome))
            task.add_done_callback(lambda _task: gate.release())
    outcome.seconds = time.monotonic() - began
    return outcome


async def _send_one(
    session: aiohttp.ClientSession, base_url: str, visit: Visit, outcome: Outcome
) -> None:
    body = json.dumps({"site": visit.site, "page": visit.page, "id": visit.id})
    headers = {
        "User-Agent": visit.agent,
        "X-Forwarded-For": visit.address,
        "Content-Type": "text/plain",
    }
    until = time.monotonic() + TRIES_SECONDS
    pause = 0.05
    while time.monotonic() < until:
        try:
            async with session.post(f"{base_url}/v1/views", data=body, headers=headers) as response:
                status = response.status
                outcome.statuses[status] += 1
                if status != 503:
                    answer = await response.json(content_type=None)
                    if answer.get("counted"):
                        outcome.positions[visit.id] = answer.get("position")
                    else:
                        outcome.refused[answer["reason"]] += 1
                    return
        except (aiohttp.ClientError, TimeoutError):
            outcome.statuses[0] += 1
        await asyncio.sleep(pause)
        pause = min(pause * 2, 1.0)
    outcome.unknown.add(visit.id)
