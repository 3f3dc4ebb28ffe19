"""The load generator itself: what it keeps on its schedule, what a view costs it, and its greatest rate beside wrk's.

Against a server that answers everything at once, at fixed rates: a rate counts as kept when 99 % of it was acknowledged. Then wrk and the
generator in turn on one ingest process that writes to SQLite, both over 64 connections and as fast as they are answered: the
generator is asked for more than can be done and given no time to catch up, so that it is a closed loop as wrk is.
"""

from __future__ import annotations

from tests.load.check_against_wrk import (
    CONNECTIONS,
    RATE_TO_KEEP,
    TOLERANCE,
    UNREACHABLE_RATE,
    bare_server,
    generate,
    ingest_alone,
    wrk,
)
from tests.support.bench import Bench

WARM_UP_SECONDS = 2.0


def run(bench: Bench) -> None:
    """Measure the generator alone, then beside wrk."""
    with bare_server(bench.directory) as (url, bare), ingest_alone(bench.directory) as ingest:
        wrk(ingest, WARM_UP_SECONDS)
        for number in bench.rounds():
            for rate in (RATE_TO_KEEP, 2 * RATE_TO_KEEP):
                kept = generate(url, bare, rate, bench.seconds)
                setup = f"{rate:,.0f} views/s asked, bare server, {CONNECTIONS} connections"
                floor = 0.99 * rate if rate == RATE_TO_KEEP else None
                bench.record("views kept", kept.rate, "/s", setup=setup, at_least=floor)
                bench.record("due → sent, p99", kept.delay_p99_ms, "ms", setup=setup)
                bench.record("CPU a view of the generator", kept.client_us, "µs", setup=setup)
            fastest = generate(url, bare, UNREACHABLE_RATE, bench.seconds)
            setup = f"bare server, {CONNECTIONS} connections, as fast as answered"
            bench.record("views", fastest.rate, "/s", setup=setup)
            if number % 2:
                own = generate(ingest.base_url, ingest, UNREACHABLE_RATE, bench.seconds)
                other = wrk(ingest, bench.seconds)
            else:
                other = wrk(ingest, bench.seconds)
                own = generate(ingest.base_url, ingest, UNREACHABLE_RATE, bench.seconds)
            setup = f"ingest on SQLite, {CONNECTIONS} connections, as fast as answered"
            bench.record("views by wrk", other.rate, "/s", setup=setup)
            bench.record("views by the generator", own.rate, "/s", setup=setup)
            bench.record(
                "generator : wrk",
                own.rate / other.rate,
                "to 1",
                setup=setup,
                at_least=1 - TOLERANCE,
            )
            bench.record("service time by wrk, median", other.p50_ms, "ms", setup=setup)
            bench.record("service time by the generator, median", own.p50_ms, "ms", setup=setup)
