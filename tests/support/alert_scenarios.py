"""What may happen to a counter, as series of its metrics: each scenario says which alerts it fires, and which it does not."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.promtool import Question, Scenario, firing

HOUR, DAY = 60, 24 * 60
TEN, SLOW = 10, 30
"""Minutes between two values where hours or days pass; what looks at fewer minutes is blind there."""

INGEST, AGGREGATOR, API = (
    f'job="{job}", instance="{job}:8080"' for job in ("ingest", "aggregator", "api")
)
V = "visit_counter"


def level(value: float, minutes: int, step: int = 1) -> str:
    """Return a value that stays."""
    return f"{value:.15g}x{minutes // step}"


def rising(per_minute: float, minutes: int, start: float = 0, step: int = 1) -> str:
    """Return a value that rises all the time."""
    return f"{start:.15g}{per_minute * step:+.15g}x{minutes // step}"


def healthy(minutes: int, step: int = 1) -> dict[str, str]:
    """Return the series of a system in which all is well: 600 views a minute, 6,000 readings."""
    up = {f"up{{{target}}}": 1.0 for target in (INGEST, AGGREGATOR, API)}
    levels = up | {
        f"{V}_in_flight{{{INGEST}}}": 0,
        f"{V}_log_up{{{INGEST}}}": 1,
        f"{V}_log_up{{{AGGREGATOR}}}": 1,
        f"{V}_store_up{{{INGEST}}}": 1,
        f"{V}_store_up{{{AGGREGATOR}}}": 1,
        f"{V}_store_up{{{API}}}": 1,
        f"{V}_client_address_suspect{{{INGEST}}}": 0,
        f"{V}_site_faults{{{API}}}": 0,
        f"{V}_sites{{{API}}}": 600,
        f"{V}_late_sites{{{API}}}": 0,
        f"{V}_sse_clients{{{API}}}": 40,
        f"{V}_balance_difference_views{{{API}}}": 0,
        f"{V}_balance_open_sites{{{API}}}": 0,
        f'{V}_partition_state{{{AGGREGATOR}, partition="3", state="running"}}': 1,
        f'{V}_partition_state{{{AGGREGATOR}, partition="3", state="locating"}}': 0,
        f'{V}_partition_state{{{AGGREGATOR}, partition="3", state="wrong_log"}}': 0,
        f'{V}_page_fill_ratio{{{AGGREGATOR}, partition="3"}}': 0.4,
        f'{V}_id_window_seconds{{{AGGREGATOR}, partition="3"}}': 3600,
        f"{V}_memory_limit_bytes{{{API}}}": 5e8,
        f"process_resident_memory_bytes{{{API}}}": 1e8,
        f"{V}_data_free_bytes{{{API}}}": 1e11,
        f'{V}_log_free_bytes{{{INGEST}, disk="kafka:9092 /data"}}': 1e11,
        'redis_memory_used_bytes{job="redis", instance="redis:6379"}': 1e8,
        'redis_memory_max_bytes{job="redis", instance="redis:6379"}': 5e8,
        'node_filesystem_avail_bytes{instance="host", mountpoint="/", fstype="ext4"}': 1e11,
        f"{V}_certificate_not_after_timestamp_seconds{{{API}}}": 90.0 * 86400,
    }
    rates = {
        f'{V}_received_total{{{INGEST}, kind="view"}}': 600.0,
        f'{V}_received_total{{{INGEST}, kind="ping"}}': 60,
        f'{V}_refused_total{{{INGEST}, reason="bot"}}': 90,
        f'{V}_refused_total{{{INGEST}, reason="unavailable"}}': 0,
        f'{V}_fence_misses_total{{{AGGREGATOR}, kind="apply"}}': 0,
        f'{V}_applied_total{{{AGGREGATOR}, outcome="dead"}}': 0,
        f'{V}_freshness_seconds_bucket{{{AGGREGATOR}, le="2.0"}}': 300,
        f"{V}_freshness_seconds_count{{{AGGREGATOR}}}": 300,
        f'{V}_api_requests_total{{{API}, route="counters", status="2xx"}}': 6000,
        # Moments that stay as old as they are.
        f"{V}_balance_checked_timestamp_seconds{{{API}}}": 60,
        f"{V}_backup_timestamp_seconds{{{AGGREGATOR}}}": 60,
    }
    return {s: level(v, minutes, step) for s, v in levels.items()} | {
        s: rising(v, minutes, 0, step) for s, v in rates.items()
    }


def scenarios() -> Iterator[Scenario]:
    """Yield all of them."""
    yield Scenario(
        "all is well",
        healthy(3 * HOUR),
        [firing(minute) for minute in (1, HOUR, 3 * HOUR)],
    )
    yield _slow("all is well for days", 4 * DAY, {}, [firing(DAY), firing(4 * DAY)])
    yield from _objectives()
    yield from _truth()
    yield from _parts()
    yield from _sites()
    yield from _resources()


def _objectives() -> Iterator[Scenario]:
    refused = f'{V}_refused_total{{{INGEST}, reason="unavailable"}}'
    failed = f'{V}_api_requests_total{{{API}, route="counters", status="5xx"}}'
    for name, series, per_minute in (("Acceptance", refused, 660), ("Api", failed, 6000)):
        # 20 % are bad for 20 minutes: 6.7 % of the hour, above 14.4 times 0.1 %. Two hours later nobody is called any more, but the
        # budget has suffered.
        bad = per_minute * 0.2
        yield Scenario(
            f"{name}: a fast burn",
            healthy(5 * HOUR) | {series: f"0x60 0+{bad:g}x20 {20 * bad:g}x220"},
            [
                firing(60),
                firing(80, f"{name}Burn/page"),
                firing(5 * HOUR, f"{name}SlowBurn/ticket"),
            ],
        )
        # 0.9 % all the time: below 14.4 times, above 6 times the budget, and enough of it after some hours.
        bad = per_minute * 0.009
        yield _slow(
            f"{name}: a burn of hours",
            7 * HOUR,
            {series: rising(bad, 7 * HOUR, 0, TEN)},
            [firing(0), firing(6 * HOUR, f"{name}Burn/page", f"{name}SlowBurn/ticket")],
            TEN,
        )
        # 0.3 %: nobody is woken.
        yield _slow(
            f"{name}: a slow burn",
            3 * DAY,
            {series: rising(per_minute * 0.003, 3 * DAY, 0, SLOW)},
            [firing(HOUR), firing(3 * DAY, f"{name}SlowBurn/ticket")],
        )
        # Nine of a night's few.
        few = {
            s: rising(0.1, 5 * HOUR) for s in healthy(1) if f"{V}_received" in s or "_api_req" in s
        }
        yield Scenario(
            f"{name}: too few to wake anybody",
            healthy(5 * HOUR) | few | {series: "0x120 0+1x9 9x180"},
            [firing(130), firing(150)],
        )
    within = f'{V}_freshness_seconds_bucket{{{AGGREGATOR}, le="2.0"}}'
    yield Scenario(
        "Freshness: batches are slow",
        healthy(4 * HOUR)
        | {within: f"0+300x60 {rising(150, 40, 18000)} {rising(300, 140, 24000)}"},
        [
            firing(60),
            firing(100, "FreshnessBurn/page"),
            firing(4 * HOUR, "FreshnessSlowBurn/ticket"),
        ],
    )
    late = f"{V}_late_sites{{{API}}}"
    nothing = {s: "0x240" for s in healthy(1) if "_freshness_" in s}
    yield Scenario(
        "Freshness: nothing is counted at all",
        healthy(4 * HOUR) | nothing | {late: "0x60 600x60 0x120"},
        [
            firing(60),
            firing(62),
            firing(100, "FreshnessBurn/page", "NumbersLate/page"),
            firing(4 * HOUR, "FreshnessSlowBurn/ticket"),
        ],
    )
    yield _slow(
        "Freshness: a burn of hours",
        8 * HOUR,
        {late: level(48, 8 * HOUR, TEN)},
        [firing(7 * HOUR, "FreshnessBurn/page", "FreshnessSlowBurn/ticket", "NumbersLate/page")],
        TEN,
    )
    yield _slow(
        "Freshness: a slow burn",
        3 * DAY,
        {within: rising(294, 3 * DAY, 0, SLOW)},
        [firing(3 * DAY, "FreshnessSlowBurn/ticket")],
    )


def _truth() -> Iterator[Scenario]:
    state = f'{V}_partition_state{{{AGGREGATOR}, partition="3", state='
    yield Scenario(
        "a partition stops",
        healthy(60)
        | {f'{state}"wrong_log"}}': "0x10 1x20 0x30", f'{state}"running"}}': "1x10 0x20 1x30"},
        [firing(10), firing(13, "PartitionStopped/page"), firing(32)],
    )
    yield Scenario(
        "a partition does not find its place",
        healthy(60) | {f'{state}"locating"}}': "0x10 1x20 0x30"},
        [firing(14), firing(17, "PartitionLocating/page"), firing(32)],
    )
    difference, moment = (
        f"{V}_balance_{name}{{{API}}}" for name in ("difference_views", "checked_timestamp_seconds")
    )
    yield Scenario(
        "books do not close",
        healthy(60) | {difference: "0x10 3x20 0x30"},
        [firing(14), firing(17, "BooksDoNotClose/page"), firing(32)],
    )
    yield Scenario(
        "books are not looked at",
        healthy(9 * HOUR) | {moment: level(1, 9 * HOUR)},
        [firing(6 * HOUR), firing(8 * HOUR, "BooksUnchecked/ticket")],
    )
    yield Scenario(
        "numbers are late for a moment",
        healthy(60) | {f"{V}_late_sites{{{API}}}": "0x10 1x2 0x50"},
        [firing(11), firing(13)],
    )
    yield Scenario(
        "one site's numbers are late",
        healthy(60) | {f"{V}_late_sites{{{API}}}": "0x10 1x50"},
        [firing(12), firing(16, "NumbersLate/page")],
    )
    yield Scenario(
        "records cannot be read",
        healthy(3 * HOUR) | {f'{V}_applied_total{{{AGGREGATOR}, outcome="dead"}}': "0x30 2x150"},
        [firing(29), firing(40, "DeadLetters/ticket"), firing(3 * HOUR)],
    )


def _parts() -> Iterator[Scenario]:
    for name, series in (
        ("LogAway", f"{V}_log_up{{{AGGREGATOR}}}"),
        ("StoreAway", f"{V}_store_up{{{API}}}"),
    ):
        yield Scenario(
            f"{name}: for a moment, then for long",
            healthy(60) | {series: "1x10 0x1 1x20 0x10 1x19"},
            [firing(12), firing(36, f"{name}/page"), firing(50)],
        )
    for service, series in (
        ("ingest", f"{V}_in_flight{{{INGEST}}}"),
        ("aggregator", f'{V}_fence_misses_total{{{AGGREGATOR}, kind="apply"}}'),
        ("api", f"{V}_sse_clients{{{API}}}"),
    ):
        # A series is stale five minutes after its last value.
        gone = {
            series: "0x10 _x50",
            f'up{{job="{service}", instance="{service}:8080"}}': "1x10 0x50",
        }
        yield Scenario(
            f"no {service} answers",
            healthy(60) | gone,
            [
                firing(10),
                firing(20, "ServiceAway/page"),
                firing(25, "ServiceAway/page", "TargetDown/ticket"),
            ],
        )
    yield Scenario(
        "one of two is gone",
        healthy(60) | {'up{job="api", instance="api-2:8080"}': "1x10 0x50"},
        [firing(15), firing(25, "TargetDown/ticket")],
    )


def _sites() -> Iterator[Scenario]:
    for name, metric, bad in (
        ("SiteDeclarationFaulty", f"{V}_site_faults{{{API}}}", 2),
        ("ClientAddressSuspect", f"{V}_client_address_suspect{{{INGEST}}}", 1),
    ):
        yield Scenario(
            name,
            healthy(60) | {metric: f"0x10 {bad}x30 0x20"},
            [firing(20), firing(27, f"{name}/ticket"), firing(45)],
        )
    yield Scenario(
        "room for pages",
        healthy(60) | {f'{V}_page_fill_ratio{{{AGGREGATOR}, partition="3"}}': "0.89x10 0.91x50"},
        [firing(10), firing(30, "PageRoomFills/ticket")],
    )
    yield Scenario(
        "more ids than there is room for",
        healthy(60) | {f'{V}_id_window_seconds{{{AGGREGATOR}, partition="3"}}': "1900x10 1700x50"},
        [firing(10), firing(30, "IdWindowShort/ticket")],
    )


def _resources() -> Iterator[Scenario]:
    minutes = 9 * HOUR
    free = f"{V}_data_free_bytes{{{API}}}"
    broker = f'{V}_log_free_bytes{{{INGEST}, disk="kafka:9092 /data"}}'
    disk = 'node_filesystem_avail_bytes{instance="host", mountpoint="/", fstype="ext4"}'
    redis = 'redis_memory_used_bytes{job="redis", instance="redis:6379"}'
    process = f"process_resident_memory_bytes{{{API}}}"
    all_of_disk, rest_of_memory = 1e11, 4e8
    for name, alert, values in (
        # What is left is gone in so many days: four are warned of.
        ("our disk fills in three days", "DiskFills/ticket", {free: _gone_in(3, all_of_disk)}),
        ("our disk fills in six days", "", {free: _gone_in(6, all_of_disk)}),
        (
            "a broker's disk fills in three days",
            "DiskFills/ticket",
            {broker: _gone_in(3, all_of_disk)},
        ),
        ("a broker's disk fills in six days", "", {broker: _gone_in(6, all_of_disk)}),
        ("a broker has no room left", "DiskFills/ticket", {broker: level(9e8, minutes, SLOW)}),
        ("a disk fills in three days", "DiskFills/ticket", {disk: _gone_in(3, all_of_disk)}),
        ("a disk fills in six days", "", {disk: _gone_in(6, all_of_disk)}),
        ("no room left", "DiskFills/ticket", {free: level(9e8, minutes, SLOW)}),
        ("Redis fills in three days", "MemoryFills/ticket", {redis: _taken_in(3, rest_of_memory)}),
        ("Redis fills in six days", "", {redis: _taken_in(6, rest_of_memory)}),
        ("three quarters of Redis", "MemoryFills/ticket", {redis: level(3.75e8, minutes, SLOW)}),
        ("a process leaks", "MemoryFills/ticket", {process: _taken_in(3, rest_of_memory)}),
        ("a process is at its limit", "MemoryFills/ticket", {process: level(4.6e8, minutes, SLOW)}),
    ):
        yield _slow(name, minutes, values, [firing(minutes, *([alert] if alert else []))])
    certificate = f"{V}_certificate_not_after_timestamp_seconds{{{API}}}"
    for days, alerts in ((15, []), (13, ["CertificateEnds/ticket"])):
        yield Scenario(
            f"a certificate has {days} days left",
            healthy(2 * HOUR) | {certificate: level(days * 86400.0, 2 * HOUR)},
            [firing(2 * HOUR, *alerts)],
        )
    # The gateway's, seen from outside by the blackbox exporter.
    gateway = {
        certificate: "_x120",
        'probe_ssl_earliest_cert_expiry{job="blackbox"}': level(1e6, 120),
    }
    yield Scenario(
        "the gateway's certificate ends",
        healthy(2 * HOUR) | gateway,
        [firing(2 * HOUR, "CertificateEnds/ticket")],
    )
    backup = f"{V}_backup_timestamp_seconds{{{AGGREGATOR}}}"
    yield _slow(
        "the last backup was long ago",
        2 * DAY,
        {backup: level(600, 2 * DAY, SLOW)},
        [firing(DAY), firing(2 * DAY, "BackupOld/ticket")],
    )
    yield _slow(
        "there never was a backup",
        3 * DAY,
        {backup: level(0, 3 * DAY, SLOW)},
        [firing(2 * DAY - SLOW), firing(3 * DAY, "BackupOld/ticket")],
    )


def _gone_in(days: float, amount: float) -> str:
    """Return an amount that is used up in so many days."""
    return rising(-amount / (days * DAY), 9 * HOUR, amount, SLOW)


def _taken_in(days: float, amount: float) -> str:
    """Return what takes an amount more in so many days."""
    return rising(amount / (days * DAY), 9 * HOUR, 1e8, SLOW)


def _slow(
    name: str, minutes: int, series: dict[str, str], questions: list[Question], step: int = SLOW
) -> Scenario:
    """Return a scenario of hours or days."""
    return Scenario(name, healthy(minutes, step) | series, questions, step)
