"""Redis memory: bytes a visitor-day, an id, a page, a page and day, a site-year and metric, each beside the smallest conceivable.

MEMORY USAGE of whole tables as the store writes them, divided by their entries (https://redis.io/docs/latest/commands/memory-usage/).
A visitor-day also by what the whole server holds more: MEMORY USAGE leaves out what the allocator rounds up, 8 bytes an entry with
Debian's. Visitors are spread over a day, so those of the last 35 min are online.
"Smallest conceivable" is what the entry says, without anything that finds it again.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TypeVar

import uvloop

from services.backends.redis import RedisStore
from services.backends.redis_batch import ONLINE_KEPT_MS
from services.backends.redis_key import Keys, Pair
from tests.support.bench import Bench
from tests.support.redis import RedisServer
from visits.counters import DAY_MS, METRIC_LETTER, Metric
from visits.fence import Fence
from visits.state import Batch, Parameters

Key = TypeVar("Key", str, bytes)

SITE = "portal"
NOON = 1_764_050_400_000
DAY = 20_417
A_STEP = 5_000

MOMENT_BYTES, MEMBER_BYTES, AMOUNT_BYTES = 6, 8, 2
HOURS_A_YEAR, DAYS_A_YEAR = 365 * 24, 365


def run(bench: Bench) -> None:
    """Measure once: the same entries take the same memory."""
    uvloop.run(_run(bench))


async def _run(bench: Bench) -> None:
    with RedisServer(bench.directory / "redis") as server:
        store = await RedisStore(server.url).open()
        writer = Writer(store, server)
        # What a server makes once, at its first scripts, is nobody's.
        await writer.begin()
        await writer.write(seen={bytes(MEMBER_BYTES): NOON})
        for count in (10_000, 100_000):
            await _measure(bench, writer, count)
        await store.close()


async def _measure(bench: Bench, writer: Writer, count: int) -> None:
    rng = random.Random(count)
    members = {
        rng.randbytes(MEMBER_BYTES): NOON - DAY_MS + (n + 1) * DAY_MS // count for n in range(count)
    }
    pages = {f"/tin-tuc/bai-viet-{n}.html": rng.randrange(1, 5_000) for n in range(count)}
    page_bytes = sum(len(page) for page in pages) / count
    keys, of = writer.keys, f"{count:,} of one site"
    moment = MEMBER_BYTES + MOMENT_BYTES
    await writer.begin()
    empty = writer.used()
    await writer.write(seen=members)
    in_all = (writer.used() - empty) / count
    setup = (
        f"{of}, used_memory without buffers, those online included; smallest conceivable {moment}"
    )
    bench.record("bytes a visitor-day, in all", in_all, "B", setup=setup, at_most=70)
    writer.record(bench, "visitor-day", keys.seen(SITE), count, of, moment, at_most=70)
    online = sum(at > NOON - ONLINE_KEPT_MS for at in members.values())
    writer.record(bench, "reader online", keys.online(SITE), online, f"{online:,}", moment)
    await writer.write(ids=members, pages=pages)
    writer.record(bench, "id", keys.ids, count, f"{count:,} of one partition", moment)
    writer.record(bench, "id, to be forgotten", keys.id_queue, count, of, MEMBER_BYTES)
    writer.record(bench, "page", keys.pages(SITE), count, of, page_bytes + AMOUNT_BYTES)
    writer.record(
        bench, "page and day", keys.page_day(SITE, DAY), count, of, page_bytes + AMOUNT_BYTES
    )
    year = _year(rng)
    await writer.begin()
    await writer.write(counters=year)
    smallest = len(year) * AMOUNT_BYTES
    writer.record(bench, "site-year and metric", keys.counters(SITE), 1, "hours and days", smallest)


def _year(rng: random.Random) -> dict[str, int]:
    letter, first = METRIC_LETTER[Metric.VISITS], DAY * 24
    hours = {f"{letter}b{first + hour}": rng.randrange(1, 500) for hour in range(HOURS_A_YEAR)}
    days = {f"{letter}d{DAY + day}": rng.randrange(500, 9_000) for day in range(DAYS_A_YEAR)}
    return hours | days


def _part(table: dict[Key, int] | None, at: int) -> dict[Key, int]:
    return dict(islice((table or {}).items(), at, at + A_STEP))


class Writer:
    """Applies batches of one site to an empty store."""

    def __init__(self, store: RedisStore, server: RedisServer) -> None:
        """Take an opened store."""
        self.keys = Keys(0, 1)
        self._store = store
        self._server = server
        self._fence = Fence("log", 0, "")

    async def begin(self) -> None:
        """Begin at position 0 of an empty store."""
        self._server.flushall()
        self._fence = (await self._store.begin(0, "log", Parameters())).fence

    async def write(
        self,
        *,
        seen: dict[bytes, int] | None = None,
        ids: dict[bytes, int] | None = None,
        pages: dict[str, int] | None = None,
        counters: dict[str, int] | None = None,
    ) -> None:
        """Apply tables in batches of `A_STEP` entries each."""
        longest = max(len(table or {}) for table in (seen, ids, pages, counters))
        for at in range(0, longest, A_STEP):
            pages_now, seen_now = _part(pages, at), _part(seen, at)
            counters_now = _part(counters, at)
            head = await self._store.head(0)
            assert head is not None
            after = Fence("log", self._fence.position + 1, "0" * 32)
            batch = Batch(
                1, self._fence, after, NOON, NOON, head.id_window, head.parameters,
                counters={SITE: counters_now} if counters_now else {},
                pages={SITE: pages_now} if pages_now else {},
                page_days={SITE: {DAY: pages_now}} if pages_now else {},
                seen={SITE: seen_now} if seen_now else {},
                ids=_part(ids, at),
            )  # fmt: skip
            await self._store.apply(0, batch)
            self._fence = after

    def used(self) -> int:
        """Return all memory the server holds, but for the buffers of connections and of the append-only file, in bytes."""
        with self._server.client() as client:
            found = client.info("memory")
        buffers = ("mem_clients_normal", "mem_aof_buffer")
        return int(found["used_memory"]) - sum(int(found[name]) for name in buffers)

    def record(
        self,
        bench: Bench,
        name: str,
        key: str | Pair,
        count: int,
        of: str,
        smallest: float,
        at_most: float | None = None,
    ) -> None:
        """Take down what one entry of a table takes."""
        with self._server.client() as client:
            keys = [key] if isinstance(key, str) else key.tables
            size = sum(int(client.memory_usage(each, samples=0) or 0) for each in keys)
        setup = f"{of}; smallest conceivable {smallest:,.0f}"
        bench.record(f"bytes a {name}", size / count, "B", setup=setup, at_most=at_most)
