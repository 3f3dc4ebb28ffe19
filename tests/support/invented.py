"""Somebody sends views of paths that do not exist, each another one: two sites, with and without `pages` patterns, and what is then true.

At most `max_pages` pages of a site have a counter of their own; the others are counted in `(other)`, and every view is counted. Where
the webmaster names his pages, invented paths take no room at all.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from services.runtime.backend import Backends
from tests.support.load import Visit, send
from tests.support.logs import view
from tests.support.process import http_get, http_post
from tests.support.visit_counter import REPOSITORY
from visits.codec import encode_record
from visits.page import OTHER
from visits.partition import partition_of

OPEN, NAMED = "open", "named"
SITES: dict[str, dict[str, object]] = {OPEN: {}, NAMED: {"pages": ["/tin-tuc/**"]}}
SERVER = {"trusted_proxies": ["127.0.0.1/32"]}
ARTICLE = "/tin-tuc/bài mới"
RATE_PER_SECOND = 2_000
APPEND_RECORDS = 2_000
READERS = 1_000
COUNTED_SECONDS = 120.0


@dataclass
class Invented:
    """One run of it.

    Attributes:
        config: of the services that run.
        backends: the same pair, opened.
        ingest_url: where views go.
        api_url: where numbers come from.
        pages_max: how many pages a site may have.
        by_http: invented paths sent to each site.
        straight: invented paths of site `open` appended to the log, as ingest would, since HTTP would take too long.
    """

    config: Path
    backends: Backends
    ingest_url: str
    api_url: str
    pages_max: int
    by_http: int
    straight: int

    async def send(self) -> None:
        """Send everything and wait until it is counted."""
        for site in SITES:
            visits = [
                Visit(f"{site}-{n:08d}", site, _path(n), f"198.51.100.{n % 250 + 1}")
                for n in range(self.by_http)
            ]
            outcome = await send(self.ingest_url, visits, RATE_PER_SECOND)
            assert len(outcome.positions) == self.by_http, outcome.refused
        await self._append()
        await self._until_counted()

    async def check(self) -> None:
        """Every view is counted; the tables are full and no fuller."""
        sent = self.by_http + self.straight
        assert await self.views(OPEN) == sent
        assert await self.views(NAMED) == self.by_http
        pages = await self.pages(OPEN)
        assert len(pages) == self.pages_max + 1
        assert sum(pages.values()) == sent
        assert pages[OTHER] == sent - self.pages_max
        assert await self.pages(NAMED) == {OTHER: self.by_http}

    async def check_article(self) -> None:
        """A true article is counted at once; it is shown where pages are named, else after one `forget-pages`."""
        sent = self.by_http + self.straight
        assert await self._view_and_read(NAMED) == 1
        # Null, never 0: it may be in (other).
        assert await self._view_and_read(OPEN) is None
        await asyncio.to_thread(self._forget)
        await self._until_forgotten()
        assert await self._view_and_read(OPEN) == 1
        assert await self._view_and_read(OPEN) == 2
        assert await self.pages(OPEN) == {OTHER: sent + 1, ARTICLE: 2}
        assert await self.views(OPEN) == sent + 3
        assert await self.views(NAMED) == self.by_http + 1

    async def views(self, site: str) -> int:
        """Return all views of a site; 0 while nothing is counted."""
        reading = await self.backends.store.read_counters(self._partition(site), site, ["v"], 0, 0)
        return 0 if reading is None else reading.values[0] or 0

    async def pages(self, site: str) -> dict[str, int]:
        """Return the views of every page of a site."""
        found: dict[str, int] = {}
        async for some in self.backends.store.scan_pages(self._partition(site), site, None):
            found |= some
        return found

    def _partition(self, site: str) -> int:
        return partition_of(site, self.backends.log.partitions)

    async def _append(self) -> None:
        now = time.time_ns() // 1_000_000
        for start in range(0, self.straight, APPEND_RECORDS):
            numbers = range(start, min(start + APPEND_RECORDS, self.straight))
            values = [
                encode_record(
                    view(
                        now,
                        site=OPEN,
                        id=f"straight-{n:08d}",
                        page=_path(self.by_http + n),
                        visitor=f"{n % READERS:016x}",
                    )
                )
                for n in numbers
            ]
            await self.backends.log.append(
                self._partition(OPEN), [(OPEN.encode(), value) for value in values]
            )

    async def _until_counted(self) -> None:
        """Wait until every view that was sent is counted."""
        until = time.monotonic() + COUNTED_SECONDS
        sent = self.by_http + self.straight
        while (found := (await self.views(OPEN), await self.views(NAMED))) != (sent, self.by_http):
            assert time.monotonic() < until, found
            await asyncio.sleep(0.1)

    async def _until_forgotten(self) -> None:
        """Wait until the delta of `forget-pages` is counted: it stands in the ledger."""
        until = time.monotonic() + COUNTED_SECONDS
        while not await self.backends.store.read_ledger(self._partition(OPEN), OPEN):
            assert time.monotonic() < until, "nothing in the ledger"
            await asyncio.sleep(0.1)

    async def _view_and_read(self, site: str) -> int | None:
        """View the article, then read its views once that view is counted."""
        body = json.dumps({"site": site, "page": ARTICLE}).encode()
        status, answer = await asyncio.to_thread(http_post, f"{self.ingest_url}/v1/views", body)
        assert status == 202, answer
        position = json.loads(answer)["position"]
        asked = f"{self.api_url}/v1/sites/{site}/pages?page={quote(ARTICLE)}&after={position}"
        until = time.monotonic() + 30
        while True:
            answer = json.loads((await asyncio.to_thread(http_get, asked))[1])
            if answer.get("after"):
                found: int | None = answer["pages"][ARTICLE]
                return found
            assert time.monotonic() < until, answer

    def _forget(self) -> None:
        """Type `visit-counter forget-pages` as an operator does."""
        command = [sys.executable, "-m", "services.cli", "forget-pages", "/wp-*/**"]
        options = ["--site", OPEN, "--reason", "invented paths", "--config", str(self.config)]
        done = subprocess.run(
            [*command, *options], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _path(number: int) -> str:
    return f"/wp-{number:08x}/login.php"
