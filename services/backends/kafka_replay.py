"""Reads one partition of a topic without joining the group: for rebuilds, which the aggregators need not know of."""

from __future__ import annotations

import asyncio
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.backends.kafka_consumer import FETCH_BYTES_MAX, stop_client, unavailable
from services.backends.port import FETCH_RECORDS_MAX, TIMEOUT_SECONDS, Extent, Fetched
from visits.codec import LogRecord

FETCH_WAIT_MS = 50


class KafkaReplay:
    """A `LogConsumer` of one partition, which is always assigned."""

    def __init__(self, bootstrap: str, topic: str, partition: int) -> None:
        """Describe the reader; nothing happens before `start`."""
        self._place = TopicPartition(topic, partition)
        self._epoch = 0
        self._next: int | None = None
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            enable_auto_commit=False,
            # A position that retention has passed is an error here too, never a jump.
            auto_offset_reset="none",
            max_poll_records=FETCH_RECORDS_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            request_timeout_ms=12_000,
            # A seek waits for the answer that is under way.
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    async def start(self) -> Self:
        """Connect.

        Raises:
            LogUnavailableError: Kafka does not answer.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise unavailable(error) from error
        return self

    @property
    def assigned(self) -> frozenset[int]:
        """The one partition."""
        return frozenset({self._place.partition})

    def generation(self, partition: int) -> int:  # noqa: ARG002  # it is assigned once
        """Return 1."""
        return 1

    async def seek(self, partition: int, position: int) -> int:  # noqa: ARG002  # there is one
        """Read on from a position."""
        # Assigned here, so that the client never looks for a position of its own.
        if not self._consumer.assignment():
            self._consumer.assign([self._place])
        self._consumer.seek(self._place, position)
        self._next = position
        self._epoch += 1
        return self._epoch

    async def fetch(self, wait_seconds: float) -> list[Fetched]:
        """Return what comes after the position; see `LogConsumer`."""
        if self._next is None:
            return []
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                arrived = await self._consumer.getmany(
                    self._place, timeout_ms=round(wait_seconds * 1000)
                )
        except (KafkaError, OSError, TimeoutError) as error:
            raise unavailable(error) from error
        records = tuple(
            LogRecord(record.offset, record.timestamp, record.key or b"", record.value or b"")
            for record in arrived.get(self._place, ())
            if record.offset >= self._next
        )
        if records:
            self._next = records[-1].position + 1
        end = max(self._next, self._consumer.highwater(self._place) or 0)
        heard_at = self._consumer.last_poll_timestamp(self._place) or 0
        return [Fetched(self._place.partition, self._epoch, records, end, heard_at)]

    async def extent(self, partition: int) -> Extent:  # noqa: ARG002  # there is one
        """Ask what the log holds."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                begin = (await self._consumer.beginning_offsets([self._place]))[self._place]
                end = (await self._consumer.end_offsets([self._place]))[self._place]
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            raise unavailable(error) from error
        return Extent(begin, end)

    async def note_position(self, positions: dict[int, int]) -> None:
        """Do nothing: no group is to know."""

    async def close(self) -> None:
        """Disconnect."""
        await stop_client(self._consumer)
