"""The generator against wrk: the same ingest process, the same 64 connections, both as fast as they are answered.

wrk is a closed loop in C. Asked for more than the service can do, with no time to catch up, the generator is a closed loop too: so
both must find the same greatest rate and the same service time, or one of them measures itself. Rounds are interleaved. Before that,
against a server that does nothing: how many views a second the generator keeps on its schedule, and what one costs it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from services.load.generator import Generator, Limits
from services.load.outcome import COUNTED, judge_view
from services.load.result import percentiles
from services.load.schedule import Phase, Schedule
from services.load.target import parse_target
from services.load.workload import Views
from tests.load.scenario import console, parse_options, verdict, write
from tests.support.ports import LOOPBACK, free_port, is_listening
from tests.support.process import Process
from tests.support.usage import usage
from tests.support.visit_counter import REPOSITORY, Service, write_config
from tests.support.wrk import send_views

CONNECTIONS = 64
ROUNDS = 6
WARM_UP_SECONDS = 2.0
SITE = "load-test"
KEPT_RATES = (5_000.0, 10_000.0, 15_000.0, 20_000.0)
RATE_TO_KEEP = 10_000.0
UNREACHABLE_RATE = 200_000.0
TOLERANCE = 0.10
KEPT_SHARE = 0.99


class Measured(msgspec.Struct, frozen=True):
    """One run of either client.

    Attributes:
        client: `wrk` or `generator`.
        asked: views a second; 0: as fast as answered.
        rate: answered as counted, a second.
        p50_ms, p99_ms: service time: from sending to the answer.
        delay_p99_ms: from due to sent; 0 for wrk.
        client_us: CPU time of the client a view, microseconds; 0 for wrk, which is not measured.
        service_us: CPU time of the service a view.
    """

    client: str
    asked: float
    rate: float
    p50_ms: float
    p99_ms: float
    delay_p99_ms: float = 0.0
    client_us: float = 0.0
    service_us: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; return its exit status."""
    options = parse_options(__doc__, rate=UNREACHABLE_RATE, seconds=4, arguments=arguments)
    with tempfile.TemporaryDirectory(prefix="visit-counter-load-") as folder:
        kept = against_nothing(Path(folder), options.seconds)
        rounds = against_ingest(Path(folder), options.seconds)
    wrk, own = (
        median(each.rate for each in rounds if each.client == client)
        for client in ("wrk", "generator")
    )
    ratio = own / wrk
    console.print(
        f"[bold]ratio[/]      generator {own:,.0f}/s to wrk {wrk:,.0f}/s: {ratio:.3f} (medians of {ROUNDS} rounds)"
    )
    write(
        "check-against-wrk",
        options,
        msgspec.json.encode({"kept": kept, "rounds": rounds, "ratio": ratio}),
    )
    best = max((each.asked for each in kept if each.rate >= KEPT_SHARE * each.asked), default=0.0)
    return verdict(
        {
            f"the generator keeps {RATE_TO_KEEP:,.0f} views/s on one core": best >= RATE_TO_KEEP,
            "its greatest rate is within 10 % of wrk's": abs(ratio - 1) <= TOLERANCE,
        }
    )


def against_nothing(folder: Path, seconds: float) -> list[Measured]:
    """Measure the generator alone, at fixed rates and as fast as it can."""
    found = []
    with bare_server(folder) as (url, bare):
        for rate in (*KEPT_RATES, UNREACHABLE_RATE):
            found.append(generate(url, bare, rate, seconds))
            show(found[-1], "a server that does nothing")
    return found


def against_ingest(folder: Path, seconds: float) -> list[Measured]:
    """Measure both clients in turn on one ingest process that writes to SQLite."""
    found = []
    with ingest_alone(folder) as ingest:
        wrk(ingest, WARM_UP_SECONDS)
        for number in range(ROUNDS):
            # Each goes first as often as the other: a target that grows slower is slower for both.
            for client in ("wrk", "generator") if number % 2 else ("generator", "wrk"):
                if client == "wrk":
                    found.append(wrk(ingest, seconds))
                else:
                    found.append(generate(ingest.base_url, ingest, UNREACHABLE_RATE, seconds))
                show(found[-1], "ingest")
    return found


@contextmanager
def bare_server(folder: Path) -> Iterator[tuple[str, Process]]:
    """Run the server that does nothing; yield its address and process."""
    port = free_port()
    bare = Process(
        [sys.executable, str(REPOSITORY / "tests" / "load" / "bare_server.py"), str(port)],
        name="bare server",
        log_path=folder / "bare.log",
        is_ready=lambda _process: is_listening(port),
    )
    with bare:
        yield f"http://{LOOPBACK}:{port}", bare


@contextmanager
def ingest_alone(folder: Path) -> Iterator[Service]:
    """Run one ingest process that writes to SQLite and trusts this machine as a proxy."""
    file = f"sqlite:{folder / 'load-generator.db'}"
    config = write_config(
        folder / "load-generator.toml",
        file,
        file,
        {SITE: {"test": True}},
        server={"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0},
    )
    with Service("ingest", config, directory=folder) as ingest:
        yield ingest


def wrk(service: Service, seconds: float) -> Measured:
    """Send with wrk."""
    before = usage(service.pid).cpu_seconds
    seen = send_views(
        service.base_url, [SITE], seconds, connections=CONNECTIONS, has_browser_headers=False
    )
    cpu_seconds = usage(service.pid).cpu_seconds - before
    rate = (seen.requests - seen.errors) / seen.seconds
    service_us = cpu_seconds / seen.requests * 1e6
    return Measured("wrk", 0, rate, seen.p50_ms, seen.p99_ms, service_us=service_us)


def generate(url: str, service: Process, rate: float, seconds: float) -> Measured:
    """Send with the generator."""
    target = parse_target(url)
    generator = Generator(
        target,
        Views(target, [SITE], run=f"check{time.time_ns()}", visitors=10_000, pages=500),
        Schedule([Phase(rate, seconds)]),
        Limits(connections=CONNECTIONS, late_seconds=0),
        judge_view,
    )
    before, own_before = usage(service.pid).cpu_seconds, time.process_time()
    uvloop.run(generator.run())
    own_seconds = time.process_time() - own_before
    cpu_seconds = usage(service.pid).cpu_seconds - before
    serving = percentiles(generator.timeline.serving)
    return Measured(
        "generator",
        0 if rate == UNREACHABLE_RATE else rate,
        generator.outcomes[COUNTED] / seconds,
        serving.p50_ms,
        serving.p99_ms,
        percentiles(generator.timeline.delay).p99_ms,
        own_seconds / max(1, generator.sent) * 1e6,
        cpu_seconds / max(1, generator.sent) * 1e6,
    )


def show(measured: Measured, target: str) -> None:
    """Print one run."""
    asked = f"{measured.asked:,.0f}/s asked" if measured.asked else "as fast as answered"
    own = f", {measured.client_us:.1f} µs CPU a view of the client" if measured.client_us else ""
    delay = f", due → sent p99 {measured.delay_p99_ms:.2f} ms" if measured.asked else ""
    console.print(
        f"{measured.client:<10} {target}, {asked}: {measured.rate:,.0f}/s, service p50 {measured.p50_ms:.2f} "
        f"p99 {measured.p99_ms:.2f} ms{delay}{own}, {measured.service_us:.1f} µs of the service"
    )


if __name__ == "__main__":
    sys.exit(main())
