"""The stores and logs that the laws run on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.backends.kafka import KafkaLog
from services.backends.memory import MemoryLog, MemoryStore
from services.backends.port import CounterStore, EventLog
from services.backends.redis import RedisStore
from services.backends.sqlite import open_sqlite
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisCluster, RedisServer


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[CounterStore]:
    log, store = open_sqlite(tmp_path / "laws.db")
    await log.open()
    await store.open()
    yield store
    await store.close()
    await log.close()


@pytest.fixture
async def redis_store(redis_server: RedisServer) -> AsyncIterator[CounterStore]:
    store = RedisStore(redis_server.url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def redis_cluster_store(redis_cluster: RedisCluster) -> AsyncIterator[CounterStore]:
    store = RedisStore(redis_cluster.url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def memory_store() -> CounterStore:
    return MemoryStore()


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("redis_cluster", marks=pytest.mark.integration),
    ]
)
def store(request: pytest.FixtureRequest) -> CounterStore:
    """Each store in turn."""
    found: CounterStore = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
async def sqlite_log(tmp_path: Path) -> AsyncIterator[EventLog]:
    log, _store = open_sqlite(tmp_path / "log-laws.db")
    await log.open()
    yield log
    await log.close()


@pytest.fixture
async def kafka_log(kafka: KafkaCluster, topic: str) -> AsyncIterator[EventLog]:
    log = KafkaLog(kafka.bootstrap, topic, partitions=1, group_id=topic, session_timeout_seconds=6)
    await log.open()
    yield log
    await log.close()


@pytest.fixture(scope="module")
def kafka_three_laws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three brokers for all laws, gone with the last one: three idle ones still take their share of a small machine."""
    with KafkaCluster(tmp_path_factory.mktemp("kafka-laws"), node_count=3) as cluster:
        yield cluster


@pytest.fixture
async def kafka_three_log(kafka_three_laws: KafkaCluster, topic: str) -> AsyncIterator[EventLog]:
    log = KafkaLog(
        kafka_three_laws.bootstrap, topic, partitions=1, group_id=topic, session_timeout_seconds=6
    )
    await log.open()
    yield log
    await log.close()


@pytest.fixture
def memory_log() -> EventLog:
    return MemoryLog()


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("kafka", marks=pytest.mark.integration),
        pytest.param("kafka_three", marks=pytest.mark.integration),
    ]
)
def event_log(request: pytest.FixtureRequest) -> EventLog:
    """Each log in turn."""
    found: EventLog = request.getfixturevalue(f"{request.param}_log")
    return found
