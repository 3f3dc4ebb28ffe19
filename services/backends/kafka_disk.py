"""How much of the topic lies on each broker's disk, and how much room is left there: one DescribeLogDirs request a broker.

aiokafka has no such request. The log is kept for ever, so that its disk is what an operator must see fill.
"""

from __future__ import annotations

import asyncio

from services.backends.kafka_metadata import ASK_SECONDS, Address, Connection, Data, varint
from services.backends.port import Disk

DESCRIBE_LOG_DIRS, DESCRIBE_LOG_DIRS_VERSION = 35, 4
"""Kafka protocol, "DescribeLogDirs API (Key: 35)": version 4 answers with the disk's room too (KIP-827, brokers from 3.3 on)."""


async def ask_disks(brokers: frozenset[Address], topic: str) -> list[Disk]:
    """Ask each broker; one that does not answer, or does not know the request, is left out."""
    found = await asyncio.gather(*(_ask_one(broker, topic) for broker in sorted(brokers)))
    return [disk for disks in found for disk in disks]


async def _ask_one(address: Address, topic: str) -> list[Disk]:
    connection = Connection(address)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return read_disks(await connection.ask(_request()), topic, f"{address[0]}:{address[1]}")
    except (OSError, EOFError, TimeoutError):
        return []
    finally:
        connection.close()


def read_disks(answer: bytes, topic: str, broker: str) -> list[Disk]:
    """Read an answer; a folder that cannot be used, or of which the broker knows no room, is left out.

    Raises:
        EOFError: it ends too early.
    """
    data = Data(answer)
    data.skip(4)  # correlation id
    data.skip_tags()
    data.skip(4)  # throttle time
    if data.number(2) != 0:
        return []
    found = []
    for _ in range(data.length()):
        error = data.number(2)
        folder = data.text()
        taken = sum(_topic_size(data, topic) for _ in range(data.length()))
        data.skip(8)  # the disk's size
        free = data.number(8)
        data.skip_tags()
        if error == 0 and free >= 0:
            found.append(Disk(f"{broker} {folder}", taken, free))
    return found


def _topic_size(data: Data, topic: str) -> int:
    """Return the size of one topic's partitions; 0 of another topic."""
    is_ours = data.text() == topic
    size = 0
    for _ in range(data.length()):
        data.skip(4)  # partition
        size += data.number(8)
        data.skip(8 + 1)  # offset lag, is future
        data.skip_tags()
    data.skip_tags()
    return size if is_ours else 0


def _request() -> bytes:
    """Return a request about all topics."""
    header = (
        DESCRIBE_LOG_DIRS.to_bytes(2, "big")
        + DESCRIBE_LOG_DIRS_VERSION.to_bytes(2, "big")
        + bytes(4)  # correlation id
        + b"\xff\xff"  # no client id
        + b"\0"
    )
    return header + varint(0) + b"\0"
