"""An SSE crowd: many readers (`--readers`) follow one site's numbers live, while a few views a second change them.

Shows how long after its acknowledgement a view is on every reader's screen, what a reader costs in memory, and that nobody is left
behind. The service sends at most one event a second to each reader, so half a second is what the median cannot go below.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from time import monotonic_ns
from typing import cast

import msgspec
import uvloop

from services.load.generator import Generator, Limits
from services.load.histogram import Histogram
from services.load.outcome import COUNTED, Outcome, judge_view
from services.load.plan import Plan
from services.load.reader import Reader, check_is_test, settled_totals
from services.load.result import Percentiles, percentiles
from services.load.schedule import Phase, Schedule
from services.load.target import Target, parse_target
from tests.load.scenario import console, make_plan, parse_options, verdict, write
from tests.load.system import System, allow_many_connections

OPENING_AT_ONCE = 100
CONNECT_SECONDS = 10.0
SETTLE_SECONDS_MAX = 10.0
"""How long after the last view the readers may take until all have it."""

POLL_SECONDS = 0.05

TOTAL = re.compile(rb'"total":(\d+)')


class Crowd:
    """All readers, and the moments at which views were acknowledged.

    Attributes:
        before: the total without these views.
        acknowledged_ns: of each view, in order.
        delays: from an acknowledgement to each reader's event.
        ended: readers whose stream broke.
        is_over: streams end from now on because they may.
    """

    def __init__(self, before: int) -> None:
        """Begin without readers."""
        self.before = before
        self.acknowledged_ns: list[int] = []
        self.delays = Histogram()
        self.readers: list[StreamReader] = []
        self.ended = 0
        self.is_over = False

    @property
    def behind(self) -> int:
        """How many readers have not seen every view yet."""
        return sum(reader.seen < len(self.acknowledged_ns) for reader in self.readers)

    def acknowledge(
        self, _number: int, outcome: Outcome, _sent_ns: int, now_ns: int, _body: bytes
    ) -> None:
        """Take note of a view's acknowledgement; some readers may have it by now."""
        if outcome == COUNTED:
            self.acknowledged_ns.append(now_ns)
            for reader in self.readers:
                reader.catch_up(now_ns)


class StreamReader(asyncio.Protocol):
    """One reader of a stream: knows the last total it was told."""

    def __init__(self, crowd: Crowd, request: bytes) -> None:
        """Ask by `request` once connected."""
        self.seen = 0
        self.total = -1
        self.transport: asyncio.Transport | None = None
        self._crowd = crowd
        self._request = request
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask (asyncio)."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read events; only the last whole one matters (asyncio)."""
        whole, _, self._tail = (self._tail + data).rpartition(b"\n\n")
        found = TOTAL.findall(whole)
        if found:
            self.total = int(found[-1])
            self.catch_up(monotonic_ns())

    def connection_lost(self, exc: Exception | None) -> None:
        """Be closed (asyncio)."""
        del exc
        self._crowd.ended += not self._crowd.is_over

    def catch_up(self, now_ns: int) -> None:
        """Take note of the views that are in the total this reader was told."""
        acknowledged_ns = self._crowd.acknowledged_ns
        has = min(self.total - self._crowd.before, len(acknowledged_ns))
        while self.seen < has:
            self._crowd.delays.record((now_ns - acknowledged_ns[self.seen]) // 1000)
            self.seen += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=1, seconds=20, readers=1_000, arguments=arguments)
    allow_many_connections()
    wanted = int(options.extra["readers"])
    with options.system() as system:
        plan = make_plan(system, [Phase(options.rate, options.seconds)], visitors=100)
        console.print(
            f"[bold]SSE crowd[/]: {wanted:,} readers, {options.rate:g} views/s for {options.seconds:,.0f} s, {system.name}"
        )
        idle_bytes = resident_bytes(system)
        crowd, behind = uvloop.run(follow(plan, wanted))
        full_bytes = max(resident_bytes(system), idle_bytes)
    delays = percentiles(crowd.delays)
    opened = len(crowd.readers)
    console.print(
        f"[bold]update[/]     p50 {delays.p50_ms:,.0f} ms, p99 {delays.p99_ms:,.0f} ms, max {delays.max_ms:,.0f} ms from "
        f"acknowledgement to a reader's event, {delays.samples:,} events"
    )
    if full_bytes:
        console.print(
            f"[bold]memory[/]     {(full_bytes - idle_bytes) / max(1, opened) / 1024:.1f} KB a reader"
        )
    write("sse-crowd", options, document(opened, behind, crowd, delays, full_bytes - idle_bytes))
    return verdict(
        {
            "every stream was opened": opened == wanted,
            "no stream broke": crowd.ended == 0,
            "every view was acknowledged": len(crowd.acknowledged_ns) == plan.phases[0].views,
            "every reader has the last number": behind == 0,
        }
    )


async def follow(plan: Plan, wanted: int) -> tuple[Crowd, int]:
    """Open the streams, send the views, wait until all have the last one; return the crowd and how many are behind."""
    reader = Reader(parse_target(plan.api_url))
    site = plan.sites[0]
    await check_is_test(reader, site, plan.count_into)
    crowd = Crowd((await settled_totals(reader, [site], SETTLE_SECONDS_MAX))[site])
    reader.close()
    target = parse_target(plan.api_url)
    request = target.head("GET", f"/v1/sites/{site}/stream?metric=views") + b"\r\n"
    gate = asyncio.Semaphore(OPENING_AT_ONCE)
    await asyncio.gather(*(open_stream(crowd, target, request, gate) for _ in range(wanted)))
    views = Generator(
        parse_target(plan.url),
        plan.workload(),
        Schedule(plan.phases),
        Limits(),
        judge_view,
        on_outcome=crowd.acknowledge,
    )
    await views.run()
    for _ in range(round(SETTLE_SECONDS_MAX / POLL_SECONDS)):
        if not crowd.behind:
            break
        await asyncio.sleep(POLL_SECONDS)
    behind = crowd.behind
    crowd.is_over = True
    for each in crowd.readers:
        if each.transport is not None:
            each.transport.abort()
    return crowd, behind


async def open_stream(
    crowd: Crowd, target: Target, request: bytes, gate: asyncio.Semaphore
) -> None:
    """Open one reader's stream, a few at a time; one that cannot be opened is missing in the crowd."""
    loop = asyncio.get_running_loop()
    async with gate:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, opened = await loop.create_connection(
                    lambda: StreamReader(crowd, request),
                    target.host,
                    target.port,
                    ssl=target.tls(),
                )
        except OSError:
            return
    crowd.readers.append(opened)


def resident_bytes(system: System) -> int:
    """Return the memory of the process that serves the streams; 0 where it is not ours."""
    serving = system.processes.get("api") or system.processes.get("up")
    return serving.resident_bytes() if serving else 0


def document(
    opened: int, behind: int, crowd: Crowd, delays: Percentiles, grown_bytes: int
) -> bytes:
    """Return the figures as JSON."""
    return msgspec.json.encode(
        {
            "readers": opened,
            "behind": behind,
            "broken": crowd.ended,
            "views": len(crowd.acknowledged_ns),
            "update": delays,
            "bytes_a_reader": round(grown_bytes / max(1, opened)),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
