"""Runs inside a container of the image: prints everything that log and store hold, decoded, for a search of what must not be there.

Both compress what they write to disk, so that a search of the volumes alone would find nothing of it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from redis.asyncio import Redis

from services.cli.option import configuration

QUIET_MS = 3_000


async def main() -> None:
    """Print records and keys."""
    settings = configuration(Path("/etc/visit-counter/visit-counter.toml")).settings
    servers, _, topic = settings.log.url.removeprefix("kafka://").partition("/")
    await show_records(servers, topic)
    await show_keys(settings.store.url)


async def show_records(servers: str, topic: str) -> None:
    """Print every record of the topic."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    ends = await consumer.end_offsets(list(consumer.assignment()))
    while any([await consumer.position(at) < end for at, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=QUIET_MS)).values():
            for record in records:
                show("record", record.key, record.value)
    await consumer.stop()


async def show_keys(url: str) -> None:
    """Print every key with what it holds."""
    client: Any = Redis.from_url(url)
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    async for key in client.scan_iter(count=1000):
        show("key", key, await readers[await client.type(key)](key))
    await client.aclose()


def show(*values: object) -> None:
    """Print what is read, byte for byte where it is text, else escaped."""
    sys.stdout.write(f"{values!r}\n")


asyncio.run(main())
