"""The topic: how it is made, and what it must not be."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from visits.errors import LogUnavailableError, SettingsError

log = structlog.get_logger()

ASK_SECONDS = 5.0
CLOSE_SECONDS = 2.0
PARTITIONS_DEFAULT = 16
REPLICATION_MAX = 3
CONFIG = {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "CreateTime"}
"""What a topic of ours has: every event, for ever, with the producer's time."""

REFUSED = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
"""Where an existing topic differs in these, positions are not dense or fingerprints not stable."""


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
        log.warning(
            "the topic has a retention: older views cannot be rebuilt from the log",
            topic=topic,
            retention_ms=found["retention.ms"],
        )
