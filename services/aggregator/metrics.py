"""The metrics of the aggregator (DESIGN 4.6): names, kinds, units, meanings."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.runtime.metrics import BATCH_RECORDS, gauge
from visits.errors import StoppedState

STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
"""Edges of histograms of what one batch takes."""

RUNNING = "running"
LOCATING = "locating"
STATES = (RUNNING, LOCATING, *map(str, StoppedState))
OUTCOMES = ("applied", "already", "missed", "dead")
MISSES = ("state", "apply", "touch")


class AggregatorMetrics:
    """Every metric the aggregator exposes.

    Attributes:
        applied: records by outcome: `applied`, `already` (an earlier reply was lost), `missed` (dropped, read again), `dead`.
        position: up to which record each partition is counted.
        lag_records: records of the log not yet counted, by partition.
        lag_seconds: age of the numbers, by partition.
        freshness: seconds from `received` of a batch's oldest record to its being readable.
        fence_misses: by kind: `state` (seen at the read), `apply`, `touch`.
        partition_state: 1 for the state a partition is in, by partition and state.
        fold_seconds: deciding one batch; nothing else runs in the process meanwhile.
        apply_seconds: one apply, from call to answer.
        batch_records: records of one batch.
        id_window_seconds: for how long ids are remembered, by partition; shorter than an hour where there are too many.
        page_fill: how full the fullest site's room for pages is, by partition.
        log_up: 1 while the log answers.
        store_up: 1 while the store answers.
        backup_timestamp: when the last backup was complete, in Unix seconds; 0 for never.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        prefix = "visit_counter"
        self.applied = Counter(
            f"{prefix}_applied_total",
            "Log records by what became of them",
            ["outcome"],
            registry=registry,
        )
        for outcome in OUTCOMES:
            self.applied.labels(outcome)
        self.position = Gauge(
            f"{prefix}_position_records",
            "Position in the log up to which a partition is counted",
            ["partition"],
            registry=registry,
        )
        self.lag_records = Gauge(
            f"{prefix}_lag_records", "Log records not yet counted", ["partition"], registry=registry
        )
        self.lag_seconds = Gauge(
            f"{prefix}_lag_seconds",
            "Age of the numbers",
            ["partition"],
            registry=registry,
        )
        self.freshness = Histogram(
            f"{prefix}_freshness_seconds",
            "From received to readable, of each batch's oldest record",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
            registry=registry,
        )
        self.fence_misses = Counter(
            f"{prefix}_fence_misses_total",
            "The store stood elsewhere than expected",
            ["kind"],
            registry=registry,
        )
        for kind in MISSES:
            self.fence_misses.labels(kind)
        self.partition_state = Gauge(
            f"{prefix}_partition_state",
            "1 for the state a partition is in",
            ["partition", "state"],
            registry=registry,
        )
        self.fold_seconds = Histogram(
            f"{prefix}_fold_seconds",
            "Deciding one batch, during which nothing else runs in the process",
            buckets=STEP_SECONDS,
            registry=registry,
        )
        self.apply_seconds = Histogram(
            f"{prefix}_apply_seconds",
            "One apply, from call to answer",
            buckets=STEP_SECONDS,
            registry=registry,
        )
        self.batch_records = Histogram(
            f"{prefix}_batch_records",
            "Records of one batch",
            buckets=BATCH_RECORDS,
            registry=registry,
        )
        self.id_window_seconds = Gauge(
            f"{prefix}_id_window_seconds",
            "For how long a repeated id is found; below an hour there are more ids than a partition remembers",
            ["partition"],
            registry=registry,
        )
        self.page_fill = Gauge(
            f"{prefix}_page_fill_ratio",
            "How full the fullest site's room for pages is; at 1, new pages are counted as (other)",
            ["partition"],
            registry=registry,
        )
        self.log_up = gauge(registry, f"{prefix}_log_up", "1 while the log answers")
        self.store_up = gauge(registry, f"{prefix}_store_up", "1 while the store answers")
        self.backup_timestamp = Gauge(
            f"{prefix}_backup_timestamp_seconds",
            "When the last backup was complete, Unix time; 0 for never",
            registry=registry,
        )

    def show_state(self, partition: int, state: str) -> None:
        """Show the one state a partition is in."""
        for known in STATES:
            self.partition_state.labels(str(partition), known).set(1 if known == state else 0)

    def forget(self, partition: int) -> None:
        """Stop showing a partition that another process has taken over."""
        for known in STATES:
            self.partition_state.remove(str(partition), known)
        for one in (
            self.position,
            self.lag_records,
            self.lag_seconds,
            self.id_window_seconds,
            self.page_fill,
        ):
            try:
                one.remove(str(partition))
            except KeyError:
                continue
