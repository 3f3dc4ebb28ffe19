"""The stores and logs that the laws run on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.backends.kafka import KafkaLog
from services.backends.memory import MemoryLog, MemoryStore
from services.backends.port import CounterStore, EventLog
from services.backends.redis import RedisStore
from services.backends.sqlite import open_sqlite
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer


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
def memory_store() -> CounterStore:
    return MemoryStore()


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.integration)])
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


@pytest.fixture
def memory_log() -> EventLog:
    return MemoryLog()


@pytest.fixture(params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.integration)])
def event_log(request: pytest.FixtureRequest) -> EventLog:
    """Each log in turn."""
    found: EventLog = request.getfixturevalue(f"{request.param}_log")
    return found
