"""Reads the partitions that Kafka assigns to this process; what has been counted is the store's to say (DESIGN 3.2)."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from services.backends.port import FETCH_RECORDS_MAX, TIMEOUT_SECONDS, Extent, Fetched
from visits.codec import LogRecord
from visits.errors import LogUnavailableError

log = structlog.get_logger()

FETCH_BYTES_MAX = 4 * 1024 * 1024
CLOSE_SECONDS = 5.0
KILL_SECONDS = 1.0
"""What of `CLOSE_SECONDS` is kept for closing the connections of a client whose stop hangs."""

STUCK_SECONDS = 30.0
"""A consumer that gets nothing for so long although there is something is made anew (aiokafka #1154, #847)."""


class _Listener(ConsumerRebalanceListener):
    """Notes what is assigned and nothing else: a listener that waits can deadlock (aiokafka #335)."""

    def __init__(self, consumer: KafkaConsumer, client: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._client = client

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        self._consumer.revoked(self._client, {place.partition for place in revoked})

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self._consumer.newly_assigned(self._client, {place.partition for place in assigned})


class KafkaConsumer:
    """One member of the group of aggregators."""

    def __init__(
        self, bootstrap: str, topic: str, group_id: str, session_timeout_seconds: float
    ) -> None:
        """Describe the member; nothing happens before `start`."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._group_id = group_id
        self._session_ms = round(session_timeout_seconds * 1000)
        self._closing: set[asyncio.Task[None]] = set()
        self._is_broken = False
        self.rebuilds = 0
        self._assigned: frozenset[int] = frozenset()
        self._generations: dict[int, int] = {}
        self._epochs: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._moved_at: dict[int, float] = {}
        self._counter = 0
        self._consumer = self._make()

    def _make(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=FETCH_RECORDS_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=max(500, self._session_ms // 4),
            request_timeout_ms=max(12_000, self._session_ms + 5_000),
            metadata_max_age_ms=30_000,
        )

    async def start(self) -> Self:
        """Join the group.

        Raises:
            LogUnavailableError: Kafka does not answer.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise unavailable(error) from error
        self._consumer.subscribe([self._topic], listener=_Listener(self, self._consumer))
        return self

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions this process reads now."""
        return self._assigned

    def revoked(self, client: AIOKafkaConsumer, partitions: set[int]) -> None:
        """Note that partitions are another's; what a client that was replaced says is nothing to us."""
        if client is not self._consumer:
            return
        self._assigned -= partitions
        for partition in partitions:
            self._next.pop(partition, None)

    def newly_assigned(self, client: AIOKafkaConsumer, partitions: set[int]) -> None:
        """Note that partitions are ours, and that their positions are to be read anew."""
        if client is not self._consumer:
            return
        self._assigned = frozenset(partitions)
        self._next.clear()
        for partition in partitions:
            self._counter += 1
            self._generations[partition] = self._counter

    def generation(self, partition: int) -> int:
        """Return a number that changes with every assignment."""
        return self._generations.get(partition, 0)

    async def seek(self, partition: int, position: int) -> int:
        """Read on from a position."""
        self._counter += 1
        try:
            self._consumer.seek(TopicPartition(self._topic, partition), position)
        except (KafkaError, ValueError) as error:
            raise unavailable(error) from error
        self._epochs[partition] = self._counter
        self._next[partition] = position
        self._moved_at[partition] = time.monotonic()
        return self._counter

    async def fetch(self, wait_seconds: float) -> list[Fetched]:
        """Return what has arrived, from sought partitions only."""
        if self._is_broken:
            await self._rebuild()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                arrived = await self._consumer.getmany(
                    timeout_ms=round(wait_seconds * 1000), max_records=FETCH_RECORDS_MAX
                )
        except (KafkaError, OSError, TimeoutError) as error:
            self._is_broken = isinstance(error, KafkaError) and not error.retriable
            raise unavailable(error) from error
        found: list[Fetched] = []
        for place, records in arrived.items():
            expected = self._next.get(place.partition)
            if expected is None or place.partition not in self._assigned:
                continue
            kept = tuple(
                LogRecord(record.offset, record.timestamp, record.key or b"", record.value or b"")
                for record in records
                if record.offset >= expected
            )
            if kept:
                self._next[place.partition] = kept[-1].position + 1
                self._moved_at[place.partition] = time.monotonic()
                found.append(
                    Fetched(
                        place.partition,
                        self._epochs[place.partition],
                        kept,
                        self._end(place, kept[-1].position + 1),
                        self._heard_at(place),
                    )
                )
        silent = self._assigned - {fetched.partition for fetched in found}
        for partition in silent & self._next.keys():
            place = TopicPartition(self._topic, partition)
            end = self._end(place, self._next[partition])
            found.append(
                Fetched(partition, self._epochs[partition], (), end, self._heard_at(place))
            )
        await self._watch()
        return found

    async def extent(self, partition: int) -> Extent:
        """Ask what the log holds of a partition."""
        place = TopicPartition(self._topic, partition)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                begin = (await self._consumer.beginning_offsets([place]))[place]
                end = (await self._consumer.end_offsets([place]))[place]
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            raise unavailable(error) from error
        return Extent(begin, end)

    async def note_position(self, positions: dict[int, int]) -> None:
        """Commit positions for lag tools; never read back."""
        offsets = {
            TopicPartition(self._topic, partition): position
            for partition, position in positions.items()
            if partition in self._assigned
        }
        if not offsets:
            return
        try:
            async with asyncio.timeout(2.0):
                await self._consumer.commit(offsets)
        except (KafkaError, OSError, TimeoutError, ValueError, AssertionError):
            # Best effort: the store holds the position, this is for tools that show lag.
            return

    async def close(self) -> None:
        """Leave the group."""
        await stop_client(self._consumer)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _rebuild(self) -> None:
        """Leave with the old client, stopped beside, and join with a new one; every position is then to be read anew."""
        self._revoke_all()
        task = asyncio.create_task(stop_client(self._consumer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._consumer = self._make()
        # Until the new one has started, the next fetch tries again.
        self._is_broken = True
        await self.start()
        self._is_broken = False
        self.rebuilds += 1

    def _revoke_all(self) -> None:
        self._assigned = frozenset()
        self._next.clear()

    def _end(self, place: TopicPartition, at_least: int) -> int:
        try:
            mark = self._consumer.highwater(place)
        except (KafkaError, AssertionError):
            mark = None
        return max(at_least, mark or 0)

    def _heard_at(self, place: TopicPartition) -> int:
        """Return when the broker last answered a fetch of a partition; it does every 0.5 s, records or not."""
        try:
            return self._consumer.last_poll_timestamp(place) or 0
        except (KafkaError, AssertionError):
            return 0

    async def _watch(self) -> None:
        """Make the client anew when it gets nothing although there is something.

        Asks the broker and not the client, since a client that fetches nothing learns of no end either.

        Raises:
            LogUnavailableError: Kafka does not answer.
        """
        now = time.monotonic()
        for partition in sorted(self._assigned & self._next.keys()):
            if now - self._moved_at[partition] <= STUCK_SECONDS:
                continue
            self._moved_at[partition] = now
            position = self._next[partition]
            if (await self.extent(partition)).end > position == self._next.get(partition):
                log.warning(
                    "a partition gives nothing although its log goes on: joining anew",
                    partition=partition,
                    seconds=STUCK_SECONDS,
                )
                await self._rebuild()
                return


async def stop_client(consumer: AIOKafkaConsumer) -> None:
    """Stop a client, within bounds: it waits for a broker that may be away."""
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS - KILL_SECONDS):
            await consumer.stop()
            return
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(KILL_SECONDS):
            await consumer._client.close()  # noqa: SLF001  # aiokafka has no public way to end it


def unavailable(error: BaseException) -> LogUnavailableError:
    """Return an error of aiokafka in our words."""
    return LogUnavailableError(f"Kafka: {type(error).__name__}: {str(error)[:200]}")
