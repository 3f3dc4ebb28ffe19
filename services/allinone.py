"""`visit-counter up`: ingest, aggregator and api in one process, and the demo portal where nothing is configured."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import structlog
from fastapi import FastAPI

from services.backends.port import CounterStore, EventLog
from services.runtime.clock import now_ms
from services.runtime.opening import Opening, new_id, opening_delta
from services.runtime.problem import ProblemError
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
SAMPLE_VISITORS_A_SECOND = 10
"""What the demo's button may send: enough for every impatient finger, too little to fill a disk."""

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
        self._second, self._sent = 0, 0

    def install(self, app: FastAPI) -> None:
        """Add the route behind the portal's button; the api serves the pages."""
        app.add_api_route(
            "/demo/visitors",
            self.send_visitor,
            methods=["POST"],
            status_code=202,
            include_in_schema=False,
        )

    async def send_visitor(self) -> dict[str, str]:
        """Let a made-up visitor see one of the articles: a record as ingest writes it, under a pseudonym of nobody.

        Raises:
            ProblemError: too many within this second.
            UnavailableError: the log does not take it.
        """
        now = now_ms()
        if now // 1000 != self._second:
            self._second, self._sent = now // 1000, 0
        self._sent += 1
        if self._sent > SAMPLE_VISITORS_A_SECOND:
            detail = f"at most {SAMPLE_VISITORS_A_SECOND} sample visitors a second"
            raise ProblemError("rate_limit", detail)
        site = self._configuration.sites[DEMO_SITE]
        view = sample_view(site, secrets.token_hex(8), secrets.choice(list(REFERENCE_PAGES)), now)
        partition = partition_of(site.id, self._log.partitions)
        first = await self._log.append(partition, [(site.id.encode(), encode_record(view))])
        return {"page": view.page, "position": f"{partition}:{first}"}

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
    return first + [sample_view(site, f"{reader:016x}", "/", now) for reader in range(readers)]


def sample_view(site: Site, visitor: str, page: str, now: int) -> View:
    """Return the view of a made-up visitor.

    Args:
        site: the demo.
        visitor: a pseudonym, 16 hexadecimal digits.
        page: canonical.
        now: Unix milliseconds.
    """
    return View(
        v=VERSION,
        site=site.id,
        id=new_id(),
        at=now,
        received=now,
        day=local_day(now, site.zone).isoformat(),
        page=page,
        visitor=visitor,
    )
