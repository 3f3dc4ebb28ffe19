"""The topic: which one it is, how it is made, and what it must not be.

aiokafka's own metadata request stops before the versions that carry topic ids, so the id is asked by a request of our own.
"""

from __future__ import annotations

import asyncio
import io
import logging
import uuid
from contextlib import suppress

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from visits.errors import LogUnavailableError, SettingsError

_log = logging.getLogger(__name__)

METADATA, METADATA_VERSION = 3, 12
"""Kafka protocol, "Metadata API (Key: 3)": version 12 answers with topic ids (KIP-516)."""

ASK_SECONDS = 5.0
CLOSE_SECONDS = 2.0
PARTITIONS_DEFAULT = 16
REPLICATION_MAX = 3
CONFIG = {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "CreateTime"}
"""What a topic of ours has: every event, for ever, with the producer's time."""

REFUSED = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
"""Where an existing topic differs in these, positions are not dense or fingerprints not stable."""


async def topic_id(bootstrap: str, topic: str) -> str:
    """Ask the brokers which topic this is, one after the other until one answers.

    Raises:
        LogUnavailableError: none answers, or the topic does not exist.
    """
    reason = "no broker"
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await _ask(host, int(port), topic)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            reason = f"{address}: {type(error).__name__}: {error}"
    msg = f"Kafka does not answer ({reason})"
    raise LogUnavailableError(msg)


async def ensure_topics(
    bootstrap: str, topic: str, dead_letters: str, partitions: int | None, replication: int | None
) -> None:
    """Make the topics that are missing and hold an existing one against what is needed.

    Raises:
        LogUnavailableError: the brokers do not answer.
        SettingsError: the topic differs; names setting, value and mend.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=8000)
    try:
        async with asyncio.timeout(ASK_SECONDS * 2):
            await admin.start()
            existing = await admin.list_topics()
            brokers = len((await admin.describe_cluster())["brokers"])
            copies = replication or (REPLICATION_MAX if brokers >= REPLICATION_MAX else 1)
            config = CONFIG | ({"min.insync.replicas": "2"} if copies >= REPLICATION_MAX else {})
            for name, count in ((topic, partitions or PARTITIONS_DEFAULT), (dead_letters, 1)):
                if name not in existing:
                    await _create(admin, NewTopic(name, count, copies, topic_configs=config))
            await _check(admin, bootstrap, topic)
    except (KafkaError, OSError, TimeoutError) as error:
        msg = f"Kafka at {bootstrap} does not answer: {type(error).__name__}: {error}"
        raise LogUnavailableError(msg) from error
    finally:
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await admin.close()


async def _create(admin: AIOKafkaAdminClient, topic: NewTopic) -> None:
    """Make a topic; another service may have made it meanwhile."""
    answer = await admin.create_topics([topic], timeout_ms=5000)
    for _name, code, *reason in answer.topic_errors:  # type: ignore[attr-defined]  # typed as the base class
        if code not in {0, TopicAlreadyExistsError.errno}:
            raise for_code(code)(*reason)


async def _check(admin: AIOKafkaAdminClient, bootstrap: str, topic: str) -> None:
    described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    found = {
        entry[0]: entry[1]
        for response in described
        for resource in response.resources  # type: ignore[attr-defined]  # typed as the base class
        for entry in resource[4]
    }
    for name, needed in REFUSED.items():
        if name in found and found[name] != needed:
            msg = (
                f"topic {topic} has {name}={found[name]}, it must be {needed}: "
                f"kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics "
                f"--entity-name {topic} --add-config {name}={needed}"
            )
            raise SettingsError(msg)
    if found.get("retention.ms", "-1") != "-1":
        # Allowed (DESIGN 3.6), but what is older can then not be rebuilt from the log.
        _log.warning(
            "topic %s has retention.ms=%s: older views cannot be rebuilt from the log",
            topic,
            found["retention.ms"],
        )


async def _ask(host: str, port: int, topic: str) -> str:
    """Send one metadata request and read the first topic's id."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        name = topic.encode()
        header = (
            METADATA.to_bytes(2, "big")
            + METADATA_VERSION.to_bytes(2, "big")
            + bytes(4)
            + b"\xff\xff"
            + b"\0"
        )
        body = b"\x02" + bytes(16) + _varint(len(name) + 1) + name + b"\0" + b"\0\0" + b"\0"
        request = header + body
        writer.write(len(request).to_bytes(4, "big") + request)
        size = int.from_bytes(await reader.readexactly(4), "big")
        return _read_topic_id(io.BytesIO(await reader.readexactly(size)), topic)
    finally:
        writer.close()


def _read_topic_id(data: io.BytesIO, topic: str) -> str:
    data.read(4)  # correlation id
    _skip_tags(data)
    data.read(4)  # throttle time
    for _ in range(_read_varint(data) - 1):
        data.read(4)  # node id
        _skip_string(data)  # host
        data.read(4)  # port
        _skip_string(data)  # rack
        _skip_tags(data)
    _skip_string(data)  # cluster id
    data.read(4)  # controller id
    count = _read_varint(data) - 1
    error = int.from_bytes(data.read(2), "big", signed=True)
    _skip_string(data)  # name
    found = uuid.UUID(bytes=data.read(16))
    if count < 1 or error != 0 or not found.int:
        msg = f"topic {topic} does not exist (Kafka error {error})"
        raise LogUnavailableError(msg)
    return str(found)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = data.read(1)[0]
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value
        shift += 7


def _skip_string(data: io.BytesIO) -> None:
    data.read(max(0, _read_varint(data) - 1))


def _skip_tags(data: io.BytesIO) -> None:
    for _ in range(_read_varint(data)):
        _read_varint(data)
        data.read(_read_varint(data))
