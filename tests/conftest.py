"""Fixtures of the real parts, marks by where a test stands, and the order of the run."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from playwright.async_api import Browser

from tests.support.browser import open_browser
from tests.support.kafka import KafkaCluster
from tests.support.process import running_processes
from tests.support.redis import RedisCluster, RedisServer
from tests.support.visit_counter import Service

TESTS = Path(__file__).resolve().parent

# The order of a run of all tests: the quick ones that say most about a mistake first.
ORDER = ("unit", "model", "contract", "integration", "e2e", "load")

# A test that takes one of these needs a real server, wherever it stands.
REAL_PARTS = frozenset(
    {"kafka", "kafka_own", "kafka_three", "redis_server", "redis_own", "redis_cluster"}
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by folder and by the parts they use, and order the run; before `-m` selects."""
    for item in items:
        folder = _folder(item)
        if folder in {"integration", "e2e", "load"}:
            item.add_marker(folder)
        if REAL_PARTS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("integration")
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("e2e")
    # The sort is stable: within a folder the order stays.
    items.sort(key=lambda item: ORDER.index(_folder(item)) if _folder(item) in ORDER else -1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last output of every process that still runs beside a failure."""
    report = yield
    if report.failed:
        for process in running_processes():
            report.sections.append((f"last output of {process.name}", process.tail()))
    return report


@pytest.fixture(scope="session")
def kafka_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One broker for the whole run."""
    with KafkaCluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture
def kafka(kafka_session: KafkaCluster) -> KafkaCluster:
    """The run's one broker, up; a test makes its own topics and does not kill it."""
    kafka_session.start()
    return kafka_session


@pytest.fixture
def kafka_own(tmp_path: Path) -> Iterator[KafkaCluster]:
    """A broker of this test alone, to be killed as it likes."""
    with KafkaCluster(tmp_path / "kafka") as cluster:
        yield cluster


@pytest.fixture
def kafka_three(tmp_path: Path) -> Iterator[KafkaCluster]:
    """Three brokers of this test alone, two replicas of three needed for a write."""
    with KafkaCluster(tmp_path / "kafka", node_count=3) as cluster:
        yield cluster


@pytest.fixture
def topic() -> str:
    """A topic name that no other test uses; the topic is not made."""
    return f"page-views-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis server for the whole run."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_session: RedisServer) -> RedisServer:
    """The run's one Redis server, up and empty; a test does not kill it."""
    if not redis_session.is_running:
        redis_session.start()
    redis_session.flushall()
    return redis_session


@pytest.fixture
def redis_own(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server of this test alone, to be killed as it likes."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters and three replicas for the whole run."""
    with RedisCluster(tmp_path_factory.mktemp("redis-cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(redis_cluster_session: RedisCluster) -> RedisCluster:
    """The run's Redis Cluster, all nodes up and empty."""
    redis_cluster_session.start()
    redis_cluster_session.flushall()
    return redis_cluster_session


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium of this test alone."""
    async with open_browser() as opened:
        yield opened


class StartService(Protocol):
    """Start one of our services and wait until it is ready; see `Service` for the arguments."""

    def __call__(
        self, command: str, config: Path | None, *, wait: bool = True, **options: object
    ) -> Service:
        """Return the running service; without `wait` it may not be ready yet."""


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """A function that starts services, which end with the test."""
    services: list[Service] = []

    def start(
        command: str, config: Path | None, *, wait: bool = True, **options: object
    ) -> Service:
        service = Service(command, config, directory=tmp_path, **options)  # type: ignore[arg-type]
        services.append(service)
        service.start(wait=wait)
        return service

    yield start
    for service in services:
        service.kill()


def _folder(item: pytest.Item) -> str:
    path = item.path.resolve()
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""
