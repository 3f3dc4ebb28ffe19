"""One api process: counter reads a second, CPU a read, other answers, memory.

wrk asks over 64 kept connections, one request at a time on each, while aggregator and ingest idle. Counters come from the process's
own memory, at most 50 ms old: each site asked is read from Redis 20 times a second. Every site has 400 days of hourly numbers. The
client takes its share of the processors, therefore CPU time of the api process stands beside the rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from threading import Event

from tests.support.bench import Bench
from tests.support.portal import open_portal
from tests.support.process import ProcessError, http_get
from tests.support.usage import usage
from tests.support.visit_counter import Service
from tests.support.wrk import read

SITES = [f"site-{number}" for number in range(100)]
DAYS = 400
PAGES = 10_000
PAGE_SECONDS_MAX = 10.0
SITE = f"/v1/sites/{SITES[0]}"
OTHERS = {
    "views of a page": f"{SITE}/pages?page=/tin-tuc/bai-7",
    "history, 30 days": f"{SITE}/history",
    "history, 10 years by month": f"{SITE}/history?interval=month&from=2017-01-01",
    f"top 10 of {PAGES:,} pages": f"{SITE}/pages/top?window=total",
    "balance": f"{SITE}/balance",
    "statistics page": f"/sites/{SITES[0]}",
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
            with _drawing_pages(portal.api.base_url):
                _measure(bench, portal.api, paths[:1], "counters, 1 site, while pages are drawn")


@contextmanager
def _drawing_pages(base_url: str) -> Iterator[None]:
    """Meanwhile somebody asks for the statistics pages of all sites, one after the other: none is kept when its turn comes."""
    ended = Event()

    def ask() -> None:
        for site in cycle(SITES):
            if ended.is_set():
                return
            http_get(f"{base_url}/sites/{site}", timeout_seconds=PAGE_SECONDS_MAX)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            ended.set()
        asking.result()


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
