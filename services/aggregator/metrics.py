"""The metrics of the aggregator (DESIGN 4.6): names, kinds, units, meanings."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.runtime.metrics import gauge
from visits.errors import StoppedState

RUNNING = "running"
LOCATING = "locating"


class AggregatorMetrics:
    """Every metric the aggregator exposes.

    Attributes:
        applied: records by outcome: `applied`, `already` (an earlier reply was lost), `missed` (dropped, read again), `dead`.
        lag_records: records of the log not yet counted, by partition.
        lag_seconds: age of the numbers, by partition.
        freshness: seconds from `received` of a batch's oldest record to its being readable.
        fence_misses: by kind: `state` (seen at the read), `apply`, `touch`.
        partition_state: 1 for the state a partition is in, by partition and state.
        apply_seconds: one apply, from call to answer.
        batch_records: records of one batch.
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
        for outcome in ("applied", "already", "missed", "dead"):
            self.applied.labels(outcome)
        self.lag_records = Gauge(
            f"{prefix}_lag_records", "Log records not yet counted", ["partition"], registry=registry
        )
        self.lag_seconds = Gauge(
            f"{prefix}_lag_seconds",
            "Age of the numbers in seconds",
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
        for kind in ("state", "apply", "touch"):
            self.fence_misses.labels(kind)
        self.partition_state = Gauge(
            f"{prefix}_partition_state",
            "1 for the state a partition is in",
            ["partition", "state"],
            registry=registry,
        )
        self.apply_seconds = Histogram(
            f"{prefix}_apply_seconds",
            "One apply, from call to answer",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
            registry=registry,
        )
        self.batch_records = Histogram(
            f"{prefix}_batch_records",
            "Records of one batch",
            buckets=(1, 10, 100, 500, 1000, 2500, 5000),
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
        for known in (RUNNING, LOCATING, *StoppedState):
            self.partition_state.labels(str(partition), str(known)).set(1 if known == state else 0)

    def forget(self, partition: int) -> None:
        """Stop showing a partition that another process has taken over."""
        for known in (RUNNING, LOCATING, *StoppedState):
            self.partition_state.remove(str(partition), str(known))
        for lag in (self.lag_records, self.lag_seconds):
            try:
                lag.remove(str(partition))
            except KeyError:
                continue
