"""Looks at all sites, again and again, for those who watch: who is online, whose numbers are late, whose books do not close.

Nobody need ask for a number to be watched. Both rounds go gently: one site at a time, at rest most of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from services.api.balance import BalanceRoutes
from services.api.metrics import ApiMetrics
from services.api.reading import Readings
from services.runtime.health import Health
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.errors import PartitionStoppedError, UnavailableError

ROUND_SECONDS = 15.0
"""How often all sites are asked who is online: as often as Prometheus looks by the configuration that comes with this."""

BOOKS_ROUND_SECONDS = 60.0
"""How often all books are looked at, where that is cheap."""

REST = 20
"""Closing books takes one part of so many of the time, and a round of them longer if need be."""

TRY_AGAIN_SECONDS = 1.0
"""Whether a difference is still there, is asked so much later, before it is told."""

NOTE = "balance"
SITES_NAMED_MAX = 10

log = structlog.get_logger()


class Survey:
    """Two rounds over all declared sites."""

    def __init__(
        self, readings: Readings, books: BalanceRoutes, health: Health, metrics: ApiMetrics
    ) -> None:
        """Take what reads and what closes books."""
        self._readings = readings
        self._books = books
        self._health = health
        self._metrics = metrics
        self._differences: dict[str, int] = {}
        self._closed_at: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin both rounds."""
        self._tasks = [
            asyncio.create_task(_forever(self.ask_who_is_online, ROUND_SECONDS), name="survey"),
            asyncio.create_task(_forever(self.close_all_books, 0), name="audit"),
        ]

    async def close(self) -> None:
        """End both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask_who_is_online(self) -> None:
        """Ask every site once; one that cannot be read is late, and so are those that the round does not get to in time."""
        online = late = 0
        sites = list(self._readings.configuration.sites.values())
        until = time.monotonic() + ROUND_SECONDS
        for asked, site in enumerate(sites):
            if time.monotonic() > until:
                late += len(sites) - asked
                break
            try:
                readers, is_late = await self._readings.online(site)
            except (UnavailableError, PartitionStoppedError, ProblemError):
                late += 1
                continue
            online += readers
            late += is_late
        self._metrics.online.set(online)
        self._metrics.late_sites.set(late)

    async def close_all_books(self) -> None:
        """Close every site's books once, at rest in between."""
        sites = self._readings.configuration.sites
        declared = list(sites.values())
        for site in declared:
            began = time.monotonic()
            try:
                await self.close_books(site)
            except (UnavailableError, PartitionStoppedError, ProblemError) as error:
                log.debug("books could not be looked at", site=site.id, reason=str(error))
            took = time.monotonic() - began
            await asyncio.sleep(max(BOOKS_ROUND_SECONDS / len(declared), REST * took))
        if not declared:
            await asyncio.sleep(BOOKS_ROUND_SECONDS)
        for gone in self._closed_at.keys() - sites.keys():
            del self._closed_at[gone]
            self._differences.pop(gone, None)

    async def close_books(self, site: Site) -> None:
        """Close one site's books, and tell of a difference that is still there a moment later.

        Raises:
            ProblemError: nothing is counted yet, or it takes long.
            UnavailableError: the store is away.
            PartitionStoppedError: `store_corrupt`.
        """
        kept = await self._books.closed(site)
        if kept.value.difference:
            await asyncio.sleep(max(0.0, kept.fresh_until - time.monotonic()) + TRY_AGAIN_SECONDS)
            kept = await self._books.closed(site)
        if kept.is_late:
            return
        difference = kept.value.difference
        if difference and site.id not in self._differences:
            checks = [check.name for check in kept.value.checks if check.difference]
            log.error("books do not close", site=site.id, difference=difference, checks=checks)
        if difference:
            self._differences[site.id] = difference
        elif self._differences.pop(site.id, 0):
            log.info("books close again", site=site.id)
        self._closed_at[site.id] = time.time()
        self._tell()

    def _tell(self) -> None:
        self._metrics.balance_difference.set(sum(self._differences.values()))
        self._metrics.open_books.set(len(self._differences))
        self._metrics.books_closed_at.set(min(self._closed_at.values()))
        if self._differences:
            named = ", ".join(sorted(self._differences)[:SITES_NAMED_MAX])
            self._health.notes[NOTE] = (
                f"books that do not close: {named}; see /v1/sites/SITE/balance"
            )
        else:
            self._health.notes.pop(NOTE, None)


async def _forever(work: Callable[[], Awaitable[None]], rest_seconds: float) -> None:
    """Do something again and again; a failure is logged and never the last."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("looking at all sites failed")
            await asyncio.sleep(1)
        await asyncio.sleep(rest_seconds)
