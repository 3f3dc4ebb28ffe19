"""Ingest as a part of a process: puts its pieces together, watches log and store, and stops in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.routing import Route
from starlette.types import ASGIApp

from services.backends.port import CounterStore, EventLog
from services.ingest.appending import traced
from services.ingest.arrival_watch import ArrivalWatch
from services.ingest.batcher import Batcher, NotTakenError
from services.ingest.batches import BatchesRoute
from services.ingest.client_address import ClientFinder, SuspectWatch, host_network, is_own_network
from services.ingest.decision import Rules
from services.ingest.deltas import DeltasRoute
from services.ingest.hot import put_before_middleware
from services.ingest.local_day import Calendar
from services.ingest.metrics import IngestMetrics
from services.ingest.openapi import describe
from services.ingest.probe import Probes
from services.ingest.rate_limit import RateLimiter
from services.ingest.recent import RecentRoute
from services.ingest.recording import Recorder
from services.ingest.salt import SaltKeeper
from services.ingest.tally import FLUSH_SECONDS, TallyBook
from services.ingest.views import GifRoute, Intake, ViewsRoute
from services.runtime.clock import now_ms
from services.runtime.direct import add_direct_routes
from services.runtime.health import Health
from services.runtime.opening import new_id
from services.runtime.settings import Configuration
from services.runtime.tracing import NO_TRACER, Tracer
from visits.codec import encode_record
from visits.errors import (
    MENDS,
    PartitionStoppedError,
    StoppedState,
    UnavailableError,
    VisitCounterError,
)
from visits.partition import partition_of
from visits.record import VERSION, Probe

WATCH_SECONDS = 2.0
"""How often log and store are asked whether they answer, and the salts are looked after."""

DISK_SECONDS = 30.0
"""How often the log's servers are asked for the room on their disks."""

DRAIN_TRIES = 3
"""How often the last tallies are written before they are given up."""

log = structlog.get_logger()


class IngestPart:
    """Takes page views, and acknowledges them once the log has them."""

    def __init__(
        self,
        configuration: Configuration,
        event_log: EventLog,
        store: CounterStore,
        health: Health,
        registry: CollectorRegistry,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Take the backends, whether or not they answer yet."""
        server = configuration.settings.server
        self._bucket_minutes = configuration.settings.store.bucket_minutes
        self._log = event_log
        self._store = store
        self._health = health
        sites = self._sites = configuration.sites
        self._metrics = IngestMetrics(
            registry,
            sites,
            [str(network) for network in server.proxy_networks],
            waiting=lambda: self._batcher.waiting,
            rebuilds=lambda: event_log.rebuilds,
        )
        appender = traced(event_log, tracer)
        self._batcher = Batcher(appender, self._on_append, measure=self._metrics.measure_append)
        self._salts = SaltKeeper(store, lambda: {site.zone for site in sites.values()})
        self._tally = TallyBook(self._batcher, self._place_of)
        self._suspects = SuspectWatch()
        calendar = Calendar()
        rules = Rules(sites, RateLimiter(server.rate_limit_per_second, server.rate_limit_burst))
        finder = ClientFinder(server.proxy_networks)
        watch = ArrivalWatch()
        self._recent = RecentRoute(watch, finder)
        self._intake = Intake(
            rules,
            finder,
            Recorder(calendar, self._salts),
            self._batcher,
            self._tally,
            calendar,
            self._metrics,
            partition_of=self._place_of,
            is_draining=health.draining.is_set,
            on_view=self._on_view,
            watch=watch,
        )
        self._probes = Probes(
            rules,
            finder,
            self._salts,
            self._batcher,
            self._metrics,
            partition_of=self._place_of,
            is_draining=health.draining.is_set,
        )
        self._batches = BatchesRoute(
            sites,
            self._salts,
            appender,
            self._metrics,
            partition_of=self._place_of,
            is_draining=health.draining.is_set,
            on_append=self._on_append,
        )
        self._deltas = DeltasRoute(
            rules,
            self._batcher,
            self._metrics,
            self._bucket_minutes,
            partition_of=self._place_of,
            is_draining=health.draining.is_set,
        )
        self._is_log_up = True
        self._failed_partition = 0
        self._is_store_up = True
        self._log_id: str | None = None
        self._wrong_log = ""
        self._tasks: list[asyncio.Task[None]] = []

    def install(self, app: FastAPI) -> None:
        """Mount the hot routes before all others, past FastAPI's parsing, and describe them."""
        views = ViewsRoute(self._intake, self._probes)
        add_direct_routes(app, {b"/v1/views": views.direct})
        routes: dict[str, ASGIApp] = {
            "/v1/views": views,
            "/v1/views.gif": GifRoute(self._intake),
            "/v1/batches": self._batches,
        }
        mounted = routes | {
            "/v1/views/recent": self._recent,
            "/v1/sites/{site}/deltas": self._deltas,
        }
        app.router.routes[:0] = [
            Route(path, route, include_in_schema=False) for path, route in mounted.items()
        ]
        put_before_middleware(app, routes)
        describe(app)

    async def start(self) -> None:
        """Begin to watch log and store; not ready until today's salt is known."""
        self._metrics.log_up.set(1)
        self._metrics.store_up.set(1)
        self._health.obstruct("salt", "today's salt was not seen yet")
        self._health.obstruct("meta", "log and store were not compared yet")
        self._tasks = [
            asyncio.create_task(_every(WATCH_SECONDS, self._watch_store), name="ingest-store"),
            asyncio.create_task(_every(WATCH_SECONDS, self._watch_log), name="ingest-log"),
            asyncio.create_task(_every(FLUSH_SECONDS, self._flush), name="ingest-tally"),
            asyncio.create_task(_every(DISK_SECONDS, self._watch_disks), name="ingest-disks"),
        ]

    async def drain(self) -> None:
        """Write what waits, then the tallies; new requests are refused by then."""
        await self._batcher.drain()
        for _ in range(DRAIN_TRIES):
            await self._tally.flush(now_ms())
            if self._tally.is_empty:
                return

    async def close(self) -> None:
        """End the tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._batcher.close()

    def _place_of(self, site: str) -> int:
        """Return where a site's views and tallies go.

        Raises:
            NotTakenError: the log is not the one that is counted.
        """
        if self._wrong_log:
            raise NotTakenError(self._wrong_log)
        return self._partition_of(site)

    def _partition_of(self, site: str) -> int:
        """Return the partition of a site.

        Raises:
            NotTakenError: how many there are is not known yet.
        """
        if not self._log.partitions:
            raise NotTakenError("the log has not answered since this process began; not taken")
        return partition_of(site, self._log.partitions)

    async def _flush(self) -> None:
        await self._tally.flush(now_ms())

    async def _watch_store(self) -> None:
        """Look after the salts; without today's no request can be taken."""
        now = now_ms()
        try:
            await self._store.ping()
            await self._salts.refresh(now)
            await self._check_meta()
        except (UnavailableError, PartitionStoppedError) as error:
            self._show_store(error)
        else:
            self._show_store(None)
        if self._salts.is_ready(now):
            self._health.clear("salt")
        else:
            self._health.obstruct("salt", "today's salt was never seen and the store is away")

    async def _check_meta(self) -> None:
        """Hold log and configuration against what the store was counted by (DESIGN 3.2), at start and now and then.

        Views are not taken into another log than the one that is counted: an answer of 202 could not be kept.
        """
        meta = await self._store.meta()
        if self._log_id is None:
            await self._watch_log()
        self._wrong_log = ""
        if meta is None:
            # Nothing was counted yet: the aggregator will count from the log that it finds.
            self._health.clear("meta")
            return
        if self._log_id is None:
            return
        differing = []
        if meta.log_id != self._log_id:
            self._wrong_log = f"the log is {self._log_id}, the store was counted from {meta.log_id}"
            differing.append(f"{self._wrong_log}: {MENDS[StoppedState.WRONG_LOG]}")
        if meta.partitions != self._log.partitions:
            differing.append(
                f"the log has {self._log.partitions} partitions, the store was counted with {meta.partitions}: "
                "`visit-counter repartition` copies it into a new topic"
            )
        if meta.bucket_minutes != self._bucket_minutes:
            differing.append(
                f"store.bucket_minutes is {self._bucket_minutes}, the store was counted with {meta.bucket_minutes}: set it back or rebuild"
            )
        if differing:
            self._health.obstruct("meta", "; ".join(differing))
        else:
            self._health.clear("meta")

    async def _watch_log(self) -> None:
        """Ask the log whether it answers, and which one it is: without requests no append would tell."""
        if not self._is_log_up and self._sites:
            await self._probe_log()
            return
        try:
            self._log_id = await self._log.log_id()
        except UnavailableError as error:
            self._on_append(self._failed_partition, error)
        else:
            self._on_append(self._failed_partition, None)

    async def _watch_disks(self) -> None:
        """Show the room on the disks of the log's servers; what is not told any more is not shown."""
        disks = await self._log.disks()
        self._metrics.log_bytes.clear()
        self._metrics.log_free_bytes.clear()
        for disk in disks:
            self._metrics.log_bytes.labels(disk.name).set(disk.taken_bytes)
            self._metrics.log_free_bytes.labels(disk.name).set(disk.free_bytes)

    async def _probe_log(self) -> None:
        """Write a record that counts nothing where an append failed: a full disk can still be read.

        The outcome shows itself; nobody sends views to a process that is not ready, so none of them would.
        """
        concerned = (s for s in self._sites if self._partition_of(s) == self._failed_partition)
        site = next(concerned, None) or next(iter(self._sites))
        now = now_ms()
        probe = Probe(v=VERSION, site=site, id=new_id(), at=now, received=now)
        with suppress(UnavailableError):
            await self._batcher.submit(
                self._partition_of(site), site.encode(), encode_record(probe)
            )

    def _on_append(self, partition: int, error: UnavailableError | None) -> None:
        """Show whether the log takes records."""
        is_up = error is None
        if error is not None:
            self._failed_partition = partition
            self._health.obstruct("log", str(error))
        if is_up == self._is_log_up:
            return
        self._is_log_up = is_up
        self._metrics.log_up.set(is_up)
        if error is None:
            self._health.clear("log")
            log.info("the log answers again")
        else:
            log.warning("the log does not answer", reason=str(error))

    def _show_store(self, error: VisitCounterError | None) -> None:
        """Show whether the store answers; known salts let ingest go on without it."""
        is_up = error is None
        if is_up == self._is_store_up:
            return
        self._is_store_up = is_up
        self._metrics.store_up.set(is_up)
        if error is None:
            self._health.notes.pop("store", None)
            log.info("the store answers again")
        else:
            self._health.notes["store"] = f"{error}; views are taken all the same"
            log.warning("the store cannot be used", reason=str(error))

    def _on_view(self, address: str) -> None:
        """Watch for a proxy that is not among the trusted ones (DESIGN 4.2)."""
        if not self._suspects.see(address):
            return
        suspect = self._suspects.suspect
        self._metrics.client_address_suspect.set(suspect is not None)
        if suspect is None:
            self._health.notes.pop("client_address", None)
            return
        network = host_network(suspect)
        self._health.notes["client_address"] = (
            f"nearly all views come from one address; if it is your proxy, add {network!r} to server.trusted_proxies"
        )
        # A public address may be a person's: it stays out of the log.
        told = network if is_own_network(suspect) else "see /readyz?verbose"
        log.warning("nearly all views share one address: trusted_proxies?", network=told)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something again and again; a failure is logged and never the last."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work of ingest failed")
        await asyncio.sleep(seconds)
