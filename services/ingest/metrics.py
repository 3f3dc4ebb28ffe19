"""The metrics of ingest (DESIGN 4.6): names, kinds, units, meanings.

received_total = acknowledged_total + the sum of refused_total + what is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Gauge, Histogram

from services.ingest.client_address import DIRECT
from services.runtime.metrics import BATCH_RECORDS, NumberCollector, Series, SeriesFamily, gauge
from visits.page import OTHER
from visits.refusal import Refusal

PREFIX = "visit_counter"
SITES_MAX = 2_000
"""How many declared sites have series of their own (DESIGN 4.6)."""

APPEND_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2)
"""Up to the 2 s after which a sender hears that the outcome is unknown (DESIGN 3.4)."""

KINDS = ("view", "ping", "unreadable")


class IngestMetrics:
    """Every metric ingest exposes.

    Attributes:
        received: requests taken, by kind; `unreadable` could not be decoded.
        refused: requests not counted, by reason.
        acknowledged: views acknowledged to their senders: the log has them.
        log_bytes: what of the log lies on each broker's disk.
        log_free_bytes: what room is left there.
        proxies: views acknowledged, by the proxy that their clients came to.
        log_up: 1 while the log answers.
        store_up: 1 while the store answers.
        client_address_suspect: 1 while nearly all views share one address.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        sites: Iterable[str],
        proxies: Iterable[str],
        waiting: Callable[[], float],
        rebuilds: Callable[[], float],
    ) -> None:
        """Register all metrics.

        Args:
            registry: the process's own.
            sites: those declared at the start.
            proxies: the networks of `trusted_proxies`.
            waiting: tells how many records wait for the log.
            rebuilds: tells how often the log's producer was made anew.
        """
        received = SeriesFamily(
            registry, "counter", f"{PREFIX}_received_total", "Requests taken", "kind", KINDS
        )
        self.received = {kind: received.labels(kind) for kind in KINDS}
        refused = SeriesFamily(
            registry,
            "counter",
            f"{PREFIX}_refused_total",
            "Requests not counted",
            "reason",
            Refusal,
        )
        self.refused = {reason: refused.labels(reason) for reason in Refusal}
        self.acknowledged = SeriesFamily(
            registry,
            "counter",
            f"{PREFIX}_acknowledged_total",
            "Views acknowledged after the log had them",
        ).labels()
        in_flight = Gauge(f"{PREFIX}_in_flight", "Records that wait for the log", registry=registry)
        in_flight.set_function(waiting)
        self.log_bytes, self.log_free_bytes = (
            Gauge(f"{PREFIX}_{name}", doc, ["disk"], registry=registry)
            for name, doc in (
                ("log_bytes", "What of the log lies on a broker's disk"),
                ("log_free_bytes", "Room left on a broker's disk"),
            )
        )
        NumberCollector(
            registry,
            "counter",
            f"{PREFIX}_producer_rebuilds_total",
            "Times the log's producer was given up and made anew, after an append that was not acknowledged",
            rebuilds,
        )
        self._append_seconds = Histogram(
            f"{PREFIX}_append_seconds",
            "One append to the log, from call to acknowledgement",
            buckets=APPEND_SECONDS,
            registry=registry,
        )
        self._append_records = Histogram(
            f"{PREFIX}_append_records",
            "Records of one append",
            buckets=BATCH_RECORDS,
            registry=registry,
        )
        self._acknowledge_seconds = Histogram(
            f"{PREFIX}_acknowledge_seconds",
            "From arrival to acknowledgement, of each append's oldest view",
            buckets=APPEND_SECONDS,
            registry=registry,
        )
        by_proxy = SeriesFamily(
            registry,
            "counter",
            f"{PREFIX}_proxy_views_total",
            "Views acknowledged, by the network in trusted_proxies of the proxy that their clients came to",
            "proxy",
            (*proxies, DIRECT),
        )
        self.proxies = {proxy: by_proxy.labels(proxy) for proxy in (*proxies, DIRECT)}
        self.log_up = gauge(registry, f"{PREFIX}_log_up", "1 while the log answers")
        self.store_up = gauge(registry, f"{PREFIX}_store_up", "1 while the store answers")
        self.client_address_suspect = gauge(
            registry,
            f"{PREFIX}_client_address_suspect",
            "1 while nearly all views share one client address: a proxy is not in trusted_proxies",
        )
        self._views = SeriesFamily(
            registry, "counter", f"{PREFIX}_site_views_total", "Views acknowledged", "site"
        )
        self._last_view = SeriesFamily(
            registry,
            "gauge",
            f"{PREFIX}_site_last_view_timestamp_seconds",
            "When the last view was acknowledged, Unix seconds",
            "site",
        )
        self._sites: dict[str, tuple[Series, Series]] = {}
        for site in sorted(sites):
            self._series(site)

    def measure_append(self, records: int, seconds: float, waited_seconds: float) -> None:
        """Note one acknowledged append: its size, its time, and how long its oldest view had waited in all."""
        self._append_records.observe(records)
        self._append_seconds.observe(seconds)
        self._acknowledge_seconds.observe(waited_seconds)

    def acknowledge(self, site: str, at: int, views: int = 1) -> None:
        """Book views of `site` that the log has, received at `at` (Unix milliseconds)."""
        self.acknowledged.inc(views)
        counter, last_view = self._sites.get(site) or self._series(site)
        counter.inc(views)
        last_view.value = at / 1000

    def refuse_unread(self, reason: Refusal) -> None:
        """Book one request that never became views: a batch, a delta or a body that cannot be read."""
        self.received["unreadable"].inc()
        self.refused[reason].inc()

    def _series(self, site: str) -> tuple[Series, Series]:
        """Return the series of a declared site, its own while there is room; sites may be added while this runs."""
        label = site if len(self._sites) < SITES_MAX else OTHER
        found = self._sites[site] = (self._views.labels(label), self._last_view.labels(label))
        return found
