"""*Pipeline*: the way of a view, from ingest over the log to the store."""

from __future__ import annotations

from deploy.grafana.source.panel import NONE, Dashboard, Panel, Query, Row, above, below, quantiles

UP = {"0": "away", "1": "answers"}

INGEST = Row(
    "Ingest: into the log",
    [
        Panel(
            "Waiting for the log",
            "Records in all queues and under way. A process takes 20,000 at most, then refuses.",
            "none",
            above(20_000, 5_000),
            "AcceptanceBurn",
            [Query("sum by (instance) (visit_counter_in_flight)", "{{instance}}")],
        ),
        Panel(
            "Time of an append",
            "From call to acknowledgement. Above 100 ms the log sets the pace.",
            "s",
            above(1, 0.1),
            "AcceptanceBurn",
            quantiles("visit_counter_append_seconds"),
        ),
        Panel(
            "From arrival to acknowledgement",
            "What a sender waits, of each append's oldest view. After 2 s it is told to come again.",
            "s",
            above(2, 0.5),
            "AcceptanceBurn",
            quantiles("visit_counter_acknowledge_seconds"),
        ),
        Panel(
            "Records of an append",
            "What waits together goes together: many are good, not bad.",
            "none",
            NONE,
            "AcceptanceBurn",
            quantiles("visit_counter_append_records"),
        ),
        Panel(
            "Log and store, as the services see them",
            "1: answers. The lowest of all processes.",
            "none",
            below(0.5, 1),
            "LogAway",
            [
                Query("min(visit_counter_log_up)", "log"),
                Query("min(visit_counter_store_up)", "store"),
            ],
            maximum=1,
            mappings=UP,
        ),
        Panel(
            "Producers made anew",
            "After an append that was not acknowledged in 10 s; its outcome is unknown, senders repeat it.",
            "none",
            above(1),
            "LogAway",
            [
                Query(
                    "sum(increase(visit_counter_producer_rebuilds_total[$__rate_interval]))",
                    "rebuilds",
                )
            ],
        ),
    ],
)

PARTITIONS = Row(
    "Aggregator: partition by partition",
    [
        Panel(
            "States",
            "How many partitions are in each state. All but running and locating stand still.",
            "none",
            NONE,
            "PartitionStopped",
            [Query("sum by (state) (visit_counter_partition_state) > 0", "{{state}}")],
            stacked=True,
        ),
        Panel(
            "Lag in records",
            "What the log has and the store has not.",
            "none",
            above(100_000, 10_000),
            "NumbersLate",
            [Query("sum by (partition) (visit_counter_lag_records)", "{{partition}}")],
        ),
        Panel(
            "Lag in seconds",
            "Age of the numbers of each partition's sites. Above 5 s readers are told.",
            "s",
            above(5, 2),
            "NumbersLate",
            [Query("max by (partition) (visit_counter_lag_seconds)", "{{partition}}")],
        ),
        Panel(
            "Records counted",
            "How fast each partition's position moves.",
            "cps",
            NONE,
            "FreshnessBurn",
            [
                Query(
                    "sum by (partition) (deriv(visit_counter_position_records[$__rate_interval]))",
                    "{{partition}}",
                )
            ],
        ),
        Panel(
            "Records by what became of them",
            "already: an earlier reply was lost. missed: dropped and read again. dead: cannot be read. None of them is counted twice.",
            "cps",
            NONE,
            "DeadLetters",
            [
                Query(
                    "sum by (outcome) (rate(visit_counter_applied_total[$__rate_interval]))",
                    "{{outcome}}",
                )
            ],
        ),
        Panel(
            "Fence misses",
            "The store stood elsewhere than expected: after a rebalance, a restart, a restore. It is then read again.",
            "none",
            above(10, 1),
            "PartitionLocating",
            [
                Query(
                    "sum by (kind) (increase(visit_counter_fence_misses_total[$__rate_interval]))",
                    "{{kind}}",
                )
            ],
        ),
    ],
)

BATCHES = Row(
    "Aggregator: batch by batch",
    [
        Panel(
            "Deciding a batch",
            "The fold. Nothing else runs in the process meanwhile.",
            "s",
            above(0.25, 0.1),
            "FreshnessBurn",
            quantiles("visit_counter_fold_seconds"),
        ),
        Panel(
            "Applying a batch",
            "One atomic step of the store, with the way there.",
            "s",
            above(0.25, 0.05),
            "FreshnessBurn",
            quantiles("visit_counter_apply_seconds"),
        ),
        Panel(
            "Records of a batch",
            "Larger ones mean that it catches up.",
            "none",
            NONE,
            "FreshnessBurn",
            quantiles("visit_counter_batch_records"),
        ),
        Panel(
            "Acknowledged and counted",
            "Both lines are one where counting keeps up; counted are also refusals by the tally and corrections.",
            "cps",
            NONE,
            "FreshnessBurn",
            [
                Query(
                    "sum(rate(visit_counter_acknowledged_total[$__rate_interval]))", "acknowledged"
                ),
                Query(
                    'sum(rate(visit_counter_applied_total{outcome="applied"}[$__rate_interval]))',
                    "counted",
                ),
            ],
        ),
        Panel(
            "Repeats are found for",
            "How long an event id is remembered: an hour, less where there are more than a million.",
            "s",
            below(1800, 3600),
            "IdWindowShort",
            [Query("min by (partition) (visit_counter_id_window_seconds)", "{{partition}}")],
        ),
        Panel(
            "Age of the newest numbers",
            "As each api process reads them.",
            "s",
            above(60, 20),
            "StoreAway",
            [Query("visit_counter_reading_age_seconds", "{{instance}}")],
        ),
    ],
)

PIPELINE = Dashboard(
    "pipeline",
    "pipeline",
    "Where a view is on its way, and where time is spent.",
    [INGEST, PARTITIONS, BATCHES],
)
