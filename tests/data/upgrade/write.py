"""Writes the data that `test_upgrade.py` reads, with the code of an older commit.

    git worktree add /tmp/older 9d0159c
    redis-server --port 6390 --save '' --daemonize yes
    PYTHONPATH=/tmp/older .venv/bin/python tests/data/upgrade/write.py tests/data/upgrade 9d0159c redis://127.0.0.1:6390/0

makes `counts-9d0159c.db` (the embedded file), `redis-9d0159c.json` (every key of the Redis store) and `records-9d0159c.json` (the
log, and what that code made of it). Never run it with newer code to mend a test: what it wrote then is what users have.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import sys
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import redis

from services.backends.redis import RedisStore
from services.backends.sqlite import open_sqlite
from visits.codec import LogRecord, decode_batch, encode_record
from visits.counters import DAY_MS, HOUR_MS, Metric
from visits.fold import fold, wanted
from visits.record import VERSION, Delta, Ping, Record, Span, Tally, View
from visits.state import FOLD_VERSION, SCHEMA, Meta, Parameters

BEGIN = 1_764_000_000_000
"""2025-11-24T16:00Z, late in the evening in Vietnam: the views lie on four local days."""

LOG_ID = "AAAAAAAAQACAAAAAAAAAAA"
BATCH = 37
PARAMETERS = Parameters(pages_max=12)


def records() -> list[Record | bytes]:
    """Return a log with every kind of record in it, repetitions, a full page cap and something unreadable."""
    made: list[Record | bytes] = [
        Delta(
            v=VERSION, site="thanhxuan", id="opening-0001", at=BEGIN, received=BEGIN, metric=Metric.VISITS,
            spans=(Span(70_000), Span(900, BEGIN - BEGIN % HOUR_MS - 24 * HOUR_MS, BEGIN - BEGIN % HOUR_MS)),
            pages={"/tin-tuc/bai-1": 56}, who="webmaster", why="opening balance", evidence="a screenshot", estimated=True,
        )
    ]  # fmt: skip
    for number in range(400):
        at = BEGIN + number * DAY_MS // 150
        day = datetime.fromtimestamp(at / 1000, timezone(timedelta(hours=7))).date().isoformat()
        site = ("thanhxuan", "caugiay")[number % 3 == 0]
        base: dict[str, Any] = {"v": VERSION, "site": site, "at": at, "received": at, "day": day}
        made.append(
            View(
                **base, id=f"view-{number - (number % 11 == 5) * 3:06d}", page=f"/tin-tuc/bai-{number % 17}",
                visitor=None if number % 13 == 0 else f"{number % 29:016x}", entry=number % 26 == 0,
            )
        )  # fmt: skip
        if number % 20 == 7:
            made.append(Ping(**base, id=f"ping-{number:06d}", visitor=f"{number % 29:016x}"))
        if number % 50 == 9:
            made.append(Tally(**base, id=f"tally-{number:05d}", refused={"bot": 3, "prefetch": 1}))
        if number == 200:
            made.append(b"no record at all")
    last = BEGIN + 3 * DAY_MS
    made.append(
        Delta(
            v=VERSION, site="caugiay", id="correct-0001", at=last, received=last, metric=Metric.VIEWS, spans=(Span(-5),),
            who="webmaster", why="a load test", evidence="",
        )
    )  # fmt: skip
    made.append(
        Delta(
            v=VERSION, site="thanhxuan", id="forget-00001", at=last, received=last, metric=Metric.VIEWS,
            forget="/tin-tuc/bai-3", who="webmaster", why="no page",
        )
    )  # fmt: skip
    return made


def pairs() -> list[tuple[bytes, bytes]]:
    """Return the log's keys and values."""
    return [
        (b"", record)
        if isinstance(record, bytes)
        else (record.site.encode(), encode_record(record))
        for record in records()
    ]


async def count(store: Any, log: list[LogRecord], log_id: str) -> dict[str, Any]:
    """Count a log into a store, batch by batch, and return everything it then holds."""
    await store.put_meta(Meta(SCHEMA, log_id, 1, PARAMETERS.bucket_minutes, FOLD_VERSION))
    head = await store.begin(0, log_id, PARAMETERS)
    for start in range(0, len(log), BATCH):
        decoded = decode_batch(tuple(log[start : start + BATCH]), 0, 1)
        state = await store.read_state(0, head.generation, wanted(decoded.records, PARAMETERS))
        await store.apply(0, fold(decoded, state))
    found: dict[str, Any] = await store.dump(0)
    return found


async def write(folder: Path, name: str, redis_url: str) -> None:
    """Write all three files."""
    path = folder / f"counts-{name}.db"
    path.unlink(missing_ok=True)
    event_log, store = open_sqlite(path)
    await event_log.open()
    await store.open()
    await event_log.append(0, pairs())
    consumer = await event_log.consumer()
    await consumer.seek(0, 0)
    (fetched,) = await consumer.fetch(1.0)
    embedded = await count(store, list(fetched.records), await event_log.log_id())
    await store.put_salt("2025-11-25", b"0123456789abcdef")
    await event_log.close()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
    for left in ("-wal", "-shm", ".lock"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    log = [LogRecord(n, BEGIN + n, key, value) for n, (key, value) in enumerate(pairs())]
    redis_store = RedisStore(redis_url)
    await redis_store.open()
    counted = await count(redis_store, log, LOG_ID)
    await redis_store.close()
    for dump in (embedded, counted):
        for entry in ("fence", "id_window"):
            dump[entry] = msgspec.to_builtins(dump[entry], str_keys=True)
    written = {
        "log_id": LOG_ID,
        "log": [(record.timestamp, _text(record.key), _text(record.value)) for record in log],
        "sqlite": embedded,
        "redis": counted,
    }
    _json(folder / f"records-{name}.json", written)
    _json(folder / f"redis-{name}.json", _keys(redis_url))


def _keys(url: str) -> dict[str, Any]:
    """Return every key with its type and value, bytes as base64."""
    found: dict[str, Any] = {}
    with redis.Redis.from_url(url) as client:
        for key in sorted(client.keys("*")):
            kind = client.type(key).decode()
            value: Any
            match kind:
                case "string":
                    value = _text(client.get(key))
                case "hash":
                    value = [(_text(f), _text(v)) for f, v in sorted(client.hgetall(key).items())]
                case "zset":
                    value = [(_text(m), score) for m, score in client.zrange(key, 0, -1, withscores=True)]  # fmt: skip
                case "set":
                    value = [_text(member) for member in sorted(client.smembers(key))]
                case _:
                    value = [_text(element) for element in client.lrange(key, 0, -1)]
            found[key.decode()] = [kind, value]
    return found


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _json(path: Path, value: object) -> None:
    encoded = msgspec.json.encode(_plain(value))
    path.write_text(json.dumps(json.loads(encoded), sort_keys=True) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold: ledger entries are texts."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
