"""Data that an older commit wrote is read by today's code: the same numbers, and counting goes on (docs/upgrade.md).

`tests/data/upgrade/write.py` made the data with the code of that commit.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from services.backends.generation import RETIRED_KEPT_MS
from services.backends.memory import MemoryLog, MemoryStore
from services.backends.redis import REDIS_SCHEMA, RedisStore
from services.backends.sqlite import open_sqlite
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.upkeep.base import opened_base
from services.upkeep.copy import copy_file
from services.upkeep.rebuild import rebuild
from services.upkeep.restoring import restore_file
from services.upkeep.saving import save_store
from services.upkeep.shadowing import Progress
from services.upkeep.verifying import verify
from tests.support.logs import view
from tests.support.oracle import Counted, count
from tests.support.redis import RedisServer
from tests.unit.services.upkeep.pair import all_counted, append, counting, made
from visits.codec import LogRecord
from visits.errors import SettingsError
from visits.state import SCHEMA, Meta, Parameters

DATA = Path(__file__).parents[1] / "data" / "upgrade"
COMMIT = "9d0159c"
PARAMETERS = Parameters(pages_max=12)
"""What the older commit counted by; `write.py` says so."""


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """The older commit's log, and what it made of it."""
    found: dict[str, Any] = json.loads((DATA / f"records-{COMMIT}.json").read_text("utf-8"))
    found["log"] = [
        LogRecord(position, timestamp, base64.b64decode(key), base64.b64decode(value))
        for position, (timestamp, key, value) in enumerate(found["log"])
    ]
    return found


@pytest.fixture
def older_file(tmp_path: Path) -> Path:
    """A copy of the older commit's embedded file."""
    return Path(shutil.copy(DATA / f"counts-{COMMIT}.db", tmp_path / "counts.db"))


@pytest.fixture
async def embedded(older_file: Path) -> AsyncIterator[Backends]:
    """The pair on the older file."""
    pair = Backends(*open_sqlite(older_file))
    await pair.open()
    yield pair
    await pair.close()


@pytest.fixture
def older_redis(redis_server: RedisServer) -> RedisServer:
    """A server that holds the older commit's keys."""
    found = json.loads((DATA / f"redis-{COMMIT}.json").read_text("utf-8"))
    with redis_server.client() as client:
        for key, (kind, value) in found.items():
            _put(client, key, kind, value)
    return redis_server


def _put(client: redis.Redis, key: str, kind: str, value: Any) -> None:
    raw = base64.b64decode
    if kind == "string":
        client.set(key, raw(value))
    elif kind == "hash":
        client.hset(key, mapping={raw(name): raw(of) for name, of in value})
    elif kind == "zset":
        client.zadd(key, {raw(member): score for member, score in value})
    elif kind == "set":
        client.sadd(key, *[raw(member) for member in value])
    else:
        client.rpush(key, *[raw(element) for element in value])


def plain(dump: dict[str, Any]) -> Any:
    """Return a dump in the form in which the older commit wrote its own: names and ledger entries are texts."""

    def texts(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): texts(each) for key, each in value.items()}
        return value.decode() if isinstance(value, bytes) else value

    built = {name: texts(value) for name, value in dump.items()}
    for name in ("fence", "id_window"):
        built[name] = msgspec.to_builtins(dump[name], str_keys=True)
    return json.loads(msgspec.json.encode(built))


def by_oracle(log: list[LogRecord]) -> dict[str, Counted]:
    """Return what the plain oracle counts of the views alone."""
    return count([record.value for record in log])


async def test_the_older_embedded_file_has_its_numbers(
    embedded: Backends, written: dict[str, Any]
) -> None:
    """Everything is as the older commit read it, and as the oracle counts it."""
    dump = await embedded.store.dump(0)
    assert plain(dump) == written["sqlite"]
    for site, numbers in by_oracle(written["log"]).items():
        assert written["sqlite"]["books"][site]["counted"] == numbers.views > 50
        assert written["sqlite"]["books"][site].get("duplicate", 0) == numbers.duplicates > 0


async def test_the_older_embedded_file_counts_on(embedded: Backends) -> None:
    """By the aggregator, from its position on; the whole log counted once more gives the same numbers."""
    before = await embedded.store.head(0)
    assert before is not None
    records = [view(before.log_time + n, site="caugiay", id=f"later-{n:06d}") for n in range(30)]
    async with counting(embedded, PARAMETERS):
        await append(embedded, [*records, *records[:5]])
        await all_counted(embedded)
        found = await verify(embedded, Progress())
    assert (found.count, found.records) == (0, before.fence.position + 35)
    books = await embedded.store.read_books(0, "caugiay")
    assert books["duplicate"] >= 5


def test_the_older_embedded_file_is_a_backup(older_file: Path, tmp_path: Path) -> None:
    """It is saved and restored as one of today's, without the salt it had."""
    assert b"0123456789abcdef" in older_file.read_bytes()
    with opened_base(older_file) as base:
        restore_file(base, tmp_path / "restored.db")
    copy_file(tmp_path / "restored.db", tmp_path / "again.db")
    assert b"0123456789abcdef" not in (tmp_path / "again.db").read_bytes()


def test_a_newer_file_stops_the_start(older_file: Path) -> None:
    """Both schemas are named, and nothing is touched."""
    with closing(sqlite3.connect(older_file)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    before = older_file.read_bytes()
    log, _store = open_sqlite(older_file)
    with pytest.raises(SettingsError, match=f"schema {SCHEMA + 1}, this release reads {SCHEMA}"):
        asyncio.run(log.open())
    assert older_file.read_bytes() == before


def log_of(written: dict[str, Any]) -> MemoryLog:
    """Return the older commit's log as one that is read now."""
    log = MemoryLog()
    log._log_id = written["log_id"]
    log.records[0] = list(written["log"])
    return log


async def test_the_older_redis_store_is_refused_and_rebuilt(
    older_redis: RedisServer, written: dict[str, Any], tmp_path: Path
) -> None:
    """Its keys are laid out otherwise (schema 1): nothing reads them, and a rebuild gives the numbers that the older commit had."""
    store = RedisStore(older_redis.url)
    await store.open()
    pair = Backends(log_of(written), store)
    told = f"schema 1, this release (knows|reads) {REDIS_SCHEMA}: run `visit-counter rebuild`"
    try:
        with pytest.raises(SettingsError, match=told):
            await made(pair, PARAMETERS).run()
        with pytest.raises(SettingsError, match=told):
            await verify(pair, Progress())
        with pytest.raises(SettingsError, match=told):
            await save_store(store, tmp_path / "backup.db")
        await rebuild(pair, PARAMETERS, Progress())
        assert plain(await store.dump(0)) == written["redis"]
        await append(pair, [view(store_time(written), site="caugiay", id="later-000001")])
        async with counting(pair, PARAMETERS):
            await all_counted(pair)
            assert (await verify(pair, Progress())).count == 0
        generations, after = store.generations(), now_ms() + RETIRED_KEPT_MS
        while await generations.sweep(0, after):
            pass
        with older_redis.client() as client:
            assert client.keys("vc:{0}:g1:*") == []
    finally:
        await store.close()


def store_time(written: dict[str, Any]) -> int:
    """Return a moment after all that was counted."""
    return int(written["redis"]["log_time"]) + 1_000


async def test_a_newer_store_stops_the_aggregator() -> None:
    """A store of another schema is not counted into: the sentence names both and the mend."""
    pair = Backends(MemoryLog(), MemoryStore())
    await pair.store.put_meta(Meta(SCHEMA + 1, await pair.log.log_id(), 1, 60, 1))
    with pytest.raises(SettingsError, match=f"schema {SCHEMA + 1}, this release knows {SCHEMA}"):
        async with asyncio.timeout(20):
            await made(pair).run()
