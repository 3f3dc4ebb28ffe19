"""One api process: counter reads a second, CPU a read, other answers, memory.

wrk asks over 64 kept connections, one request at a time on each, while aggregator and ingest idle. Counters come from the process's
own memory, at most 50 ms old: each site asked is read from Redis 20 times a second. Every site has 400 days of hourly numbers. The
client takes its share of the processors, therefore CPU time of the api process stands beside the rate.
"""

from __future__ import annotations

from tests.support.bench import Bench
from tests.support.portal import open_portal
from tests.support.process import ProcessError
from tests.support.usage import usage
from tests.support.visit_counter import Service
from tests.support.wrk import read

SITES = [f"site-{number}" for number in range(100)]
DAYS = 400
PAGES = 10_000
SITE = f"/v1/sites/{SITES[0]}"
OTHERS = {
    "views of a page": f"{SITE}/pages?page=/tin-tuc/bai-7",
    "history, 30 days": f"{SITE}/history",
    "history, 10 years by month": f"{SITE}/history?interval=month&from=2017-01-01",
    f"top 10 of {PAGES:,} pages": f"{SITE}/pages/top?window=total",
    "balance": f"{SITE}/balance",
}


def run(bench: Bench) -> None:
    """Measure every route in turn, round by round."""
    with open_portal(bench.directory, SITES, DAYS, PAGES) as portal:
        paths = [f"/v1/sites/{site}/counters" for site in SITES]
        for _ in bench.rounds():
            _measure(bench, portal.api, paths[:1], "counters, 1 site", at_least=35_000)
            _measure(bench, portal.api, paths, "counters, 100 sites")
            _measure(bench, portal.api, paths[:1], "counters, 304", headers="If-None-Match: *\r\n")
            for setup, path in OTHERS.items():
                _measure(bench, portal.api, [path], setup)


def _measure(
    bench: Bench,
    api: Service,
    paths: list[str],
    setup: str,
    *,
    headers: str = "",
    at_least: float | None = None,
) -> None:
    before = usage(api.pid)
    seen = read(api.base_url, paths, bench.seconds, headers=headers)
    after = usage(api.pid)
    if seen.errors:
        raise ProcessError(f"{setup}: {seen.errors} errors of {seen.requests}")
    cpu_seconds = after.cpu_seconds - before.cpu_seconds
    bench.record("reads", seen.requests / seen.seconds, "/s", setup=setup, at_least=at_least)
    bench.record("CPU a read", cpu_seconds / seen.requests * 1e6, "µs", setup=setup)
    bench.record("answered within, p99", seen.p99_ms, "ms", setup=setup)
    bench.record("memory", after.resident_bytes / 1e6, "MB", setup=setup)
