"""What a load test loads: a system of its own on this machine, embedded or on Kafka and Redis, or one that runs elsewhere."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from tests.support.kafka import KafkaCluster
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.visit_counter import Service, write_config

TOKEN = "load-tests-of-a-system-of-their-own"
SITE = "load-test"
PARTITIONS = 4
Pair = Literal["embedded", "kafka"]


@dataclass(frozen=True)
class System:
    """A running counter.

    Attributes:
        url: where views go.
        api_url: where numbers are read.
        token: of its test sites; empty where none was given.
        sites: its test sites.
        name: what it runs on, for people.
        processes: name → process of those that may be killed; empty where it is not ours.
    """

    url: str
    api_url: str
    token: str
    sites: tuple[str, ...]
    name: str
    processes: dict[str, Process] = field(default_factory=dict)


@contextmanager
def own_system(pair: Pair, sites: Sequence[str] = (SITE,)) -> Iterator[System]:
    """Start a system with these test sites in a folder that is removed with it."""
    allow_many_connections()
    settings = {
        site: {"test": True, "tokens": ["sha256:" + sha256(TOKEN.encode()).hexdigest()]}
        for site in sites
    }
    with tempfile.TemporaryDirectory(prefix="visit-counter-load-") as folder, ExitStack() as stack:
        start = _start_kafka if pair == "kafka" else _start_embedded
        yield start(stack, Path(folder), settings)


def allow_many_connections() -> None:
    """Raise this process's limit of open files, which its children take over, to what the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _start_embedded(
    stack: ExitStack, folder: Path, settings: dict[str, dict[str, object]]
) -> System:
    file = f"sqlite:{folder / 'visit-counter.db'}"
    config = write_config(folder / "visit-counter.toml", file, file, settings)
    up = stack.enter_context(Service("up", config, directory=folder))
    name = "one process on SQLite"
    return System(up.base_url, up.base_url, TOKEN, tuple(settings), name, {"up": up})


def _start_kafka(stack: ExitStack, folder: Path, settings: dict[str, dict[str, object]]) -> System:
    broker = stack.enter_context(KafkaCluster(folder / "kafka"))
    redis = stack.enter_context(RedisServer(folder / "redis"))
    config = write_config(
        folder / "visit-counter.toml",
        broker.url("page-views"),
        redis.url,
        settings,
        log={"partitions": PARTITIONS, "session_timeout_seconds": 6},
    )
    services = {
        command: stack.enter_context(Service(command, config, directory=folder))
        for command in ("ingest", "aggregator", "api")
    }
    return System(
        services["ingest"].base_url,
        services["api"].base_url,
        TOKEN,
        tuple(settings),
        "ingest, aggregator and api on Kafka and Redis",
        {**services, "redis": redis, "broker": broker.nodes[0]},
    )
