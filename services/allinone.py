"""`visit-counter up`: ingest, aggregator and api in one process, and the demo portal where nothing is configured."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from fastapi import FastAPI

from services.backends.port import CounterStore, EventLog
from services.runtime.clock import now_ms
from services.runtime.opening import Opening, new_id, opening_delta
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.codec import encode_record
from visits.counters import Metric
from visits.errors import UnavailableError
from visits.partition import partition_of
from visits.record import VERSION, Record, View
from visits.window import Windows, local_day

DEMO_SITE = "demo"
DEMO_SETTINGS: dict[str, Any] = {
    "sites": {DEMO_SITE: {"name": "Cổng thông tin điện tử (trang mẫu)", "test": True}}
}
"""What `up` runs with where no configuration is found."""

REFERENCE = {"online": 1134, "week": 21_559, "month": 87_424, "year": 155_277, "total": 155_351}
"""The reference case (DESIGN 1): the demo reads exactly this at its first visit."""

REFERENCE_PAGES = {
    "/tin-tuc/bai-1": 56,
    "/tin-tuc/bai-2": 113,
    "/tin-tuc/bai-3": 87,
    "/tin-tuc/bai-4": 204,
    "/tin-tuc/bai-5": 41,
    "/tin-tuc/bai-6": 152,
}
DEMO_OPENING_ID = "demo-opening-balance"

log = structlog.get_logger()


class DemoPart:
    """Fills the demo site with sample figures, once, by an opening balance and sample readers in the log."""

    def __init__(
        self, configuration: Configuration, event_log: EventLog, store: CounterStore
    ) -> None:
        """Take opened backends."""
        self._configuration = configuration
        self._log = event_log
        self._store = store
        self._task: asyncio.Task[None] | None = None

    def install(self, app: FastAPI) -> None:
        """Add nothing: the api serves the portal's pages."""

    async def start(self) -> None:
        """Seed the demo unless its log holds something already."""
        self._task = asyncio.create_task(self._seed(), name="demo")

    async def drain(self) -> None:
        """Nothing is under way for long."""

    async def close(self) -> None:
        """End the seeding."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _seed(self) -> None:
        site = self._configuration.sites[DEMO_SITE]
        partition = partition_of(site.id, self._log.partitions)
        try:
            if await self._store.read_ledger(partition, site.id):
                return
            bucket_minutes = self._configuration.settings.store.bucket_minutes
            records = demo_records(site, bucket_minutes, now_ms())
            await self._log.append(
                partition, [(site.id.encode(), encode_record(record)) for record in records]
            )
        except UnavailableError as error:
            log.warning("the demo has no sample figures", reason=str(error))


def demo_records(site: Site, bucket_minutes: int, now: int) -> list[Record]:
    """Return the log that makes a site read the reference case at its next visit.

    An opening balance, and one sample reader fewer than the reference has online: the next visitor makes it exact.
    """
    readers = REFERENCE["online"] - 1
    known = {name: REFERENCE[name] - readers - 1 for name in ("week", "month", "year")}
    opening = Opening(
        REFERENCE["total"] - readers - 1, known, Metric.VISITS, Windows.ROLLING, REFERENCE_PAGES
    )
    evidence = "sample figures of the demo"
    first: list[Record] = [
        opening_delta(
            site,
            opening,
            now,
            bucket_minutes,
            now=now,
            evidence=evidence,
            who="demo",
            delta_id=DEMO_OPENING_ID,
        )
    ]
    day = local_day(now, site.zone).isoformat()
    views: list[Record] = [
        View(
            v=VERSION,
            site=site.id,
            id=new_id(),
            at=now,
            received=now,
            day=day,
            page="/",
            visitor=f"{reader:016x}",
        )
        for reader in range(readers)
    ]
    return first + views
