"""Flame graphs of ingest and aggregator under load: the share of each function, as SVG in `bench-results/`.

py-spy (https://github.com/benfred/py-spy) stops the process 250 times a second and notes the stack of the thread that has the
interpreter. Linux lets only root look into a process that is no child (`kernel.yama.ptrace_scope`). Ingest takes wrk's views into
Kafka; the aggregator counts a log from its beginning, from Kafka into Redis.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from tests.bench import replay
from tests.support.bench import Bench
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.visit_counter import Service, write_config
from tests.support.wrk import send_views

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench-results"
LOOKS_A_SECOND = 250
CONNECTIONS = 64
SITE = "site-0000"
WRITTEN_SECONDS = 60


def run(bench: Bench) -> None:
    """Draw both, once."""
    RESULTS.mkdir(exist_ok=True)
    with (
        KafkaCluster(bench.directory / "kafka") as kafka,
        RedisServer(bench.directory / "redis") as redis,
    ):
        config = write_config(
            bench.directory / "flame.toml",
            kafka.url("page-views"),
            redis.url,
            {SITE: {}},
            server={"trusted_proxies": ["127.0.0.1/32"]},
        )
        uvloop.run(replay.write(kafka, round(bench.seconds * replay.RECORDS_A_SECOND)))
        for name in ("aggregator", "ingest"):
            drawing = RESULTS / f"flame-{name}.svg"
            with (
                Service(name, config, directory=bench.directory, name=name) as service,
                _watched(service.pid, drawing, bench.seconds),
            ):
                if name == "ingest":
                    send_views(service.base_url, [SITE], bench.seconds, connections=CONNECTIONS)


@contextmanager
def _watched(pid: int, drawing: Path, seconds: float) -> Iterator[None]:
    """Watch a process for a while; the drawing is written at the end."""
    py_spy = Path(sys.executable).with_name("py-spy")
    watcher = subprocess.Popen(  # the program is ours
        [
            py_spy, "record", "--pid", str(pid), "--duration", str(round(seconds)),
            "--rate", str(LOOKS_A_SECOND), "--gil", "--function", "--format", "flamegraph", "--output", drawing,
        ]
    )  # fmt: skip
    try:
        yield
        if watcher.wait(timeout=seconds + WRITTEN_SECONDS) != 0:
            raise RuntimeError(f"py-spy could not watch process {pid}")
        # The title is the command that was given, with the folders of this machine.
        text = drawing.read_text(encoding="utf-8")
        drawing.write_text(text.replace(f"{ROOT}/", ""), encoding="utf-8")
    finally:
        watcher.kill()
        watcher.wait()
