"""*Resources*: what the programs use up, and what ends by itself."""

from __future__ import annotations

from deploy.grafana.source.panel import NONE, Dashboard, Panel, Query, Row, above, below, stat

OURS = "visit_counter_memory_limit_bytes"
"""A metric that exactly our own processes have; jobs may be called anything."""


PROCESSES = Row(
    "Our processes",
    [
        Panel(
            "CPU",
            "Cores used by each process; one is all that a process can use.",
            "none",
            above(0.95, 0.8),
            "FreshnessBurn",
            [
                Query(
                    f"rate(process_cpu_seconds_total[$__rate_interval]) and on (job, instance) {OURS}",
                    "{{job}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Memory, as a share of the limit",
            "At the limit a process is killed, and starts anew.",
            "percentunit",
            above(0.9, 0.75),
            "MemoryFills",
            [
                Query(
                    f"process_resident_memory_bytes / on (job, instance) {OURS}",
                    "{{job}} {{instance}}",
                )
            ],
            maximum=1,
        ),
        Panel(
            "Lateness of the event loop",
            "99 of 100 looks, four a second. While it is late, everything in the process is.",
            "s",
            above(0.25, 0.05),
            "FreshnessBurn",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le, job, instance) (rate(visit_counter_loop_lag_seconds_bucket[$__rate_interval])))",
                    "{{job}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Memory",
            "Resident.",
            "bytes",
            NONE,
            "MemoryFills",
            [
                Query(
                    f"process_resident_memory_bytes and on (job, instance) {OURS}",
                    "{{job}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Open files, as a share of the limit",
            "Connections, streams, segments.",
            "percentunit",
            above(0.9, 0.7),
            "TargetDown",
            [
                Query(
                    f"(process_open_fds / process_max_fds) and on (job, instance) {OURS}",
                    "{{job}} {{instance}}",
                )
            ],
            maximum=1,
        ),
        Panel(
            "Targets",
            "What Prometheus asks, and whether it answers.",
            "none",
            below(0.5, 1),
            "TargetDown",
            [Query("min by (job) (up)", "{{job}}")],
            maximum=1,
        ),
        Panel(
            "Releases and configurations",
            "Processes of one release and one configuration belong together; two of each are a roll-out that is under way, or stuck.",
            "none",
            NONE,
            "SiteDeclarationFaulty",
            [
                Query(
                    "count by (version, python, hash) "
                    "(visit_counter_build_info * on (job, instance) group_left (hash) visit_counter_config_info)"
                )
            ],
            kind="table",
            width=16,
            height=6,
        ),
        stat(
            "Last backup",
            "When it was complete.",
            "dateTimeFromNow",
            NONE,
            "BackupOld",
            "max(visit_counter_backup_timestamp_seconds) * 1000",
            width=8,
            height=6,
            mappings={"0": "never"},
        ),
    ],
)

KEPT_ROW = Row(
    "What is kept, and what ends",
    [
        Panel(
            "Size of the log",
            "On each broker's disk; of the embedded pair the file with log and counters. It is kept for ever.",
            "bytes",
            NONE,
            "DiskFills",
            [
                Query(
                    "max by (disk) (visit_counter_log_bytes) or visit_counter_data_bytes",
                    "{{disk}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Room left for it",
            "On each broker's disk, or on that of the embedded pair's file. Without room views are refused.",
            "bytes",
            below(1e9, 1e10),
            "DiskFills",
            [
                Query(
                    "max by (disk) (visit_counter_log_free_bytes) or visit_counter_data_free_bytes",
                    "{{disk}} {{instance}}",
                )
            ],
        ),
        stat(
            "Certificate ends in",
            "Of `up --tls-cert` or `server.certificate`, or of the gateway as the blackbox exporter sees it.",
            "s",
            below(14 * 86_400, 30 * 86_400),
            "CertificateEnds",
            "((min(visit_counter_certificate_not_after_timestamp_seconds) or min(probe_ssl_earliest_cert_expiry)) - time()) or vector(-1)",
            width=8,
            height=8,
            mappings={"-1": "none is seen"},
        ),
    ],
)

REDIS_ROW = Row(
    "Redis (by redis_exporter)",
    [
        Panel(
            "Memory, as a share of the limit",
            "At the limit Redis refuses writes: counting stops, nothing is lost.",
            "percentunit",
            above(0.7, 0.5),
            "MemoryFills",
            [Query("redis_memory_used_bytes / (redis_memory_max_bytes > 0)", "{{instance}}")],
            maximum=1,
        ),
        Panel(
            "Commands",
            "How many it serves.",
            "ops",
            NONE,
            "StoreAway",
            [Query("rate(redis_commands_processed_total[$__rate_interval])", "{{instance}}")],
        ),
        Panel(
            "Clients",
            "Connections.",
            "none",
            NONE,
            "StoreAway",
            [Query("redis_connected_clients", "{{instance}}")],
        ),
        Panel(
            "Last write of the append-only file",
            "1: good. 0: the disk is full or broken, and Redis refuses writes.",
            "none",
            below(0.5, 1),
            "StoreAway",
            [Query("redis_aof_last_write_status", "{{instance}}")],
            maximum=1,
        ),
        Panel(
            "Keys thrown out",
            "Must be 0: the eviction policy is noeviction, and services refuse to start on another one.",
            "none",
            above(1),
            "BooksDoNotClose",
            [Query("increase(redis_evicted_keys_total[$__rate_interval])", "{{instance}}")],
        ),
        Panel(
            "CPU",
            "Cores. Redis runs scripts on one.",
            "none",
            above(0.9, 0.7),
            "FreshnessBurn",
            [
                Query(
                    "rate(redis_cpu_sys_seconds_total[$__rate_interval]) + rate(redis_cpu_user_seconds_total[$__rate_interval])",
                    "{{instance}}",
                )
            ],
        ),
    ],
)

RESOURCES = Dashboard(
    "resources",
    "resources",
    "What the programs use up, and what ends by itself. Other disks are seen by a node exporter, which is the host's.",
    [PROCESSES, KEPT_ROW, REDIS_ROW],
)
