"""The event log on Kafka: durable with acks=all, one batch at a time a partition, nothing re-sent behind the caller's back.

Consumer, topic and identity have files of their own: `kafka_consumer`, `kafka_topic`, `kafka_metadata`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.backends.kafka_consumer import KafkaConsumer, unavailable
from services.backends.kafka_disk import ask_disks
from services.backends.kafka_metadata import KafkaMetadata
from services.backends.kafka_replay import KafkaReplay
from services.backends.kafka_topic import ensure_topics
from services.backends.port import BATCH_BYTES_MAX, TIMEOUT_SECONDS, Disk, Identity
from visits.codec import DeadRecord
from visits.errors import LogUnavailableError, SettingsError

CLOSE_SECONDS = 5.0
KILL_SECONDS = 1.0
"""What of `CLOSE_SECONDS` is kept for closing the connections of a producer whose stop hangs."""

DEAD_KEY_BYTES_MAX = 1024
DEAD_VALUE_BYTES_MAX = BATCH_BYTES_MAX
"""What of an unreadable record goes into the dead letters."""

GROUP_ID = "visit-counter-aggregator"


class KafkaLog:
    """One topic.

    Attributes:
        rebuilds: how often the producer was given up and made anew.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        group_id: str = GROUP_ID,
        session_timeout_seconds: float = 10.0,
    ) -> None:
        """Describe the log; nothing happens before `open`.

        Args:
            bootstrap: `host:port`, comma-separated.
            topic: its name; the dead letters are beside it, with `.dead-letters`.
            partitions: when it is made; `None`: 16. An existing topic keeps its own.
            replication_factor: when it is made; `None`: 3 where there are three brokers, else 1.
            group_id: the aggregators' group.
            session_timeout_seconds: after which a silent member's partitions go to others.
        """
        self._bootstrap = bootstrap
        self._topic = topic
        self._dead_letters = f"{topic}.dead-letters"
        self._configured = partitions
        self._replication = replication_factor
        self._group_id = group_id
        self._session_timeout_seconds = session_timeout_seconds
        self._metadata = KafkaMetadata(bootstrap, topic)
        self._partitions = 0
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self.rebuilds = 0

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        session_timeout_seconds: float = 10.0,
    ) -> Self:
        """Read `kafka://host:9092,host2:9092/topic`.

        Raises:
            SettingsError: the URL has no topic.
        """
        bootstrap, _, topic = url.removeprefix("kafka://").partition("/")
        if not bootstrap or not topic:
            msg = f"log.url = {url!r}: write kafka://HOST:PORT/TOPIC"
            raise SettingsError(msg)
        return cls(
            bootstrap,
            topic,
            partitions=partitions,
            replication_factor=replication_factor,
            session_timeout_seconds=session_timeout_seconds,
        )

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._partitions

    async def open(self) -> Self:
        """Make the topics if missing and learn the number of partitions."""
        await ensure_topics(
            self._bootstrap, self._topic, self._dead_letters, self._configured, self._replication
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                producer = await self._ready_producer()
                found = len(await producer.partitions_for(self._topic))
        except (KafkaError, OSError, TimeoutError) as error:
            raise unavailable(error) from error
        if self._configured is not None and found != self._configured:
            msg = f"topic {self._topic} has {found} partitions, log.partitions says {self._configured}: the number is fixed, set it back"
            await self.close()
            raise SettingsError(msg)
        self._partitions = found
        return self

    async def log_id(self) -> str:
        """Ask for the topic's id."""
        return (await self.identity()).log_id

    async def identity(self) -> Identity:
        """Ask for the topic's id and its partitions' leader epochs."""
        return await self._metadata.ask()

    async def disks(self) -> list[Disk]:
        """Return the brokers' disks."""
        return await ask_disks(self._metadata.brokers, self._topic)

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        """Append records; see the port."""
        return await self._send(
            self._topic, partition, [(key, value, []) for key, value in records]
        )

    async def bury(self, partition: int, dead: Sequence[DeadRecord]) -> None:
        """Put unreadable records into the dead letters, long ones cut: they stand whole in the log, at `offset`.

        One as large as the topic takes would, with the headers, be larger than a batch, and stop its partition for ever.
        """
        letters = [
            (
                item.record.key[:DEAD_KEY_BYTES_MAX],
                item.record.value[:DEAD_VALUE_BYTES_MAX],
                [
                    ("reason", item.reason.encode("utf-8", "replace")),
                    ("partition", str(partition).encode()),
                    ("offset", str(item.record.position).encode()),
                    ("size", str(len(item.record.value)).encode()),
                ],
            )
            for item in dead
        ]
        await self._send(self._dead_letters, 0, letters)

    async def consumer(self) -> KafkaConsumer:
        """Join the group of aggregators."""
        member = KafkaConsumer(
            self._bootstrap, self._topic, self._group_id, self._session_timeout_seconds
        )
        return await member.start()

    async def replay(self, partition: int) -> KafkaReplay:
        """Read one partition, unknown to the group."""
        return await KafkaReplay(self._bootstrap, self._topic, partition).start()

    async def close(self) -> None:
        """Stop the producer."""
        self._metadata.close()
        if self._producer is not None:
            self._give_up(self._producer, count=False)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _send(
        self,
        topic: str,
        partition: int,
        records: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]],
    ) -> int | None:
        """Send records as batches, one after the other; return the first one's position.

        The bound includes the wait for a new producer, so that appends which wait for it together also fail together.

        Raises:
            LogUnavailableError: not acknowledged in time; the outcome is unknown.
        """
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                producer = await self._ready_producer()
                return await _send_batches(producer, topic, partition, records)
        except (KafkaError, OSError, TimeoutError) as error:
            if producer is not None:
                self._give_up(producer)
            raise unavailable(error) from error
        except asyncio.CancelledError:
            if producer is not None:
                self._give_up(producer)
            raise

    async def _ready_producer(self) -> AIOKafkaProducer:
        """Return the producer, made anew if the last one was given up; the caller bounds the wait."""
        async with self._starting:
            if self._producer is not None:
                return self._producer
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                max_batch_size=2 * BATCH_BYTES_MAX,
                linger_ms=0,
                request_timeout_ms=8_000,
                retry_backoff_ms=50,
                metadata_max_age_ms=30_000,
            )
            try:
                await producer.start()
            except BaseException:
                self._stop_later(producer)
                raise
            self._producer = producer
            return producer

    def _give_up(self, producer: AIOKafkaProducer, *, count: bool = True) -> None:
        """Forget a producer and stop it beside; its batches are never sent again by us."""
        if self._producer is producer:
            self._producer = None
            self.rebuilds += count
            self._stop_later(producer)

    def _stop_later(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_stop(producer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _send_batches(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    records: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]],
) -> int | None:
    """Send records in as many batches as they need, each after the one before was acknowledged."""
    first: int | None = None
    at = 0
    while at < len(records):
        batch = producer.create_batch()
        now = time.time_ns() // 1_000_000
        began = at
        for key, value, headers in records[began:]:
            if batch.append(key=key, value=value, timestamp=now, headers=headers) is None:
                break
            at += 1
        if at == began:
            msg = f"a record of {len(records[at][1])} bytes is larger than a batch"
            raise LogUnavailableError(msg)
        batch.close()
        metadata = await (await producer.send_batch(batch, topic, partition=partition))
        if began == 0 and metadata.offset >= 0:
            first = metadata.offset
    return first


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer, hard if need be: aiokafka's own stop waits for ever for a batch it cannot deliver.

    Without the second half its sender would live on, and send the batch that was given up whenever the broker is back.
    """
    try:
        async with asyncio.timeout(CLOSE_SECONDS - KILL_SECONDS):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError):
        sender = producer._sender  # noqa: SLF001  # aiokafka has no public way to end it
        if sender.sender_task is not None:
            sender.sender_task.cancel()
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(KILL_SECONDS):
                await producer.client.close()
