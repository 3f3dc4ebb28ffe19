"""Copies a log into one of another number of partitions: every record, each site's in its order, merged by the log's own time.

A partition's log time is the greatest of all its sites (DESIGN 3.1), so what two partitions held must be merged as it came, and not laid
one behind the other: else the sites of the second would look days old.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from services.backends.port import (
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    EventLog,
    LogConsumer,
)
from visits.codec import LogRecord, decode_record
from visits.errors import LogUnavailableError, RecordError, SettingsError
from visits.partition import partition_of

FETCH_WAIT_SECONDS = 1.0
FETCHES_WITHOUT_MAX = 60
"""How many fetches in a row may bring nothing before the end."""


class Copied(Struct):
    """What a copy came to.

    Attributes:
        records: how many records the new log has.
        misplaced: how many lay in a partition that is not their site's, and were left out: they never counted.
    """

    records: int = 0
    misplaced: int = 0


async def copy_log(
    source: EventLog,
    target: EventLog,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    counted_with: int | None = None,
) -> Copied:
    """Copy all records; nobody may append to the source meanwhile.

    Args:
        source: open.
        target: open and empty.
        on_progress: hears records done and in all.
        counted_with: how many partitions the source had before it was given more.

    Raises:
        SettingsError: the target is not empty, or records came into the source meanwhile.
        LogUnavailableError: a log does not answer; the target is of no use then.
    """
    await _check_empty(target)
    found = Copied()
    readers = [_Reader(source, partition) for partition in range(source.partitions)]
    counts = {source.partitions, counted_with or source.partitions}
    try:
        ends = [await reader.start() for reader in readers]
        total = sum(ends)
        writers = [_Writer(target, partition) for partition in range(target.partitions)]
        async for partition, record in _merged(readers):
            place = _place(record, partition, counts, target.partitions)
            if place is None:
                found.misplaced += 1
                continue
            await writers[place].add(record)
            found.records += 1
            if found.records % 1_000 == 0:
                on_progress(found.records + found.misplaced, total)
        for writer in writers:
            await writer.flush()
        on_progress(total, total)
        if [await reader.end() for reader in readers] != ends:
            raise SettingsError(
                "records came into the log while it was copied: stop ingest, delete the new topic and begin again"
            )
    finally:
        for reader in readers:
            await reader.close()
    return found


def _place(record: LogRecord, partition: int, counts: set[int], partitions: int) -> int | None:
    """Return where a record belongs in the new log; `None` where it lies as no count of ours would have put it."""
    try:
        site = decode_record(record.value).site
    except RecordError:
        # Dead it stays, and the dead letters know it by where it lay.
        return partition % partitions
    if all(partition_of(site, count) != partition for count in counts):
        return None
    return partition_of(site, partitions)


class _Reader:
    """One partition of the source, read on from its beginning."""

    def __init__(self, log: EventLog, partition: int) -> None:
        self.partition = partition
        self._log = log
        self._consumer: LogConsumer | None = None
        self._records: deque[LogRecord] = deque()
        self._position = 0
        self._end = 0

    async def start(self) -> int:
        """Find the end that is to be reached.

        Raises:
            SettingsError: the log has lost its beginning.
        """
        self._consumer = await self._log.replay(self.partition)
        extent = await self._consumer.extent(self.partition)
        if extent.begin:
            raise SettingsError(
                f"partition {self.partition} begins at {extent.begin}: what is before is gone from the log and could not be copied"
            )
        self._end = extent.end
        await self._consumer.seek(self.partition, 0)
        return extent.end

    async def end(self) -> int:
        """Return where the partition ends now."""
        assert self._consumer is not None, "asked after start"
        return (await self._consumer.extent(self.partition)).end

    async def next(self) -> LogRecord | None:
        """Return the next record, `None` at the end.

        Raises:
            LogUnavailableError: nothing more comes.
        """
        assert self._consumer is not None, "asked after start"
        tries = 0
        while not self._records:
            if self._position >= self._end:
                return None
            if tries == FETCHES_WITHOUT_MAX:
                raise LogUnavailableError(
                    f"partition {self.partition} gives nothing at {self._position} of {self._end}"
                )
            tries += 1
            for fetched in await self._consumer.fetch(FETCH_WAIT_SECONDS):
                self._records += [each for each in fetched.records if each.position < self._end]
        record = self._records.popleft()
        if record.position != self._position:
            raise SettingsError(f"partition {self.partition} has no record at {self._position}")
        self._position += 1
        return record

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()


class _Writer:
    """One partition of the target, written in batches."""

    def __init__(self, log: EventLog, partition: int) -> None:
        self._log = log
        self._partition = partition
        self._waiting: list[tuple[bytes, bytes]] = []
        self._bytes = 0

    async def add(self, record: LogRecord) -> None:
        """Take a record; a full batch is written first."""
        size = len(record.value)
        if self._bytes + size > BATCH_BYTES_MAX or len(self._waiting) == BATCH_RECORDS_MAX:
            await self.flush()
        self._waiting.append((record.key, record.value))
        self._bytes += size

    async def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            await self._log.append(self._partition, self._waiting)
            self._waiting, self._bytes = [], 0


async def _merged(readers: list[_Reader]) -> AsyncIterator[tuple[int, LogRecord]]:
    """Yield (partition, record) of all partitions by the time the log gave them, each partition in its order."""
    heap: list[tuple[int, int, LogRecord]] = []
    latest = [0] * len(readers)

    async def push(partition: int) -> None:
        record = await readers[partition].next()
        if record is not None:
            # A clock that went back does not turn a partition's order round.
            latest[partition] = max(latest[partition], record.timestamp)
            heapq.heappush(heap, (latest[partition], partition, record))

    for partition in range(len(readers)):
        await push(partition)
    while heap:
        _at, partition, record = heapq.heappop(heap)
        yield partition, record
        await push(partition)


async def _check_empty(target: EventLog) -> None:
    """Refuse a log with any record.

    Raises:
        SettingsError: naming a partition.
    """
    for partition in range(target.partitions):
        consumer = await target.replay(partition)
        try:
            extent = await consumer.extent(partition)
        finally:
            await consumer.close()
        if extent.end:
            raise SettingsError(
                f"the new log is not empty: partition {partition} has {extent.end} records; name a new topic"
            )
