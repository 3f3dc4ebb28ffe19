"""Puts a run's deltas into the log, a group whole or not at all, and learns what became of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from services.backends.port import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, EventLog
from visits.codec import encode_record
from visits.delta import LedgerEntry
from visits.errors import DeltaError, LogUnavailableError
from visits.partition import partition_of
from visits.record import Delta

APPEND_BYTES = 64 * 1024
"""An append is sent off once it has this many bytes: a run that is killed loses little, and begins again where it was."""

TRIES_MAX = 5
TRY_PAUSE_SECONDS = 1.0
COUNTED_WITHIN_SECONDS = 15.0
"""How long to wait without any further delta being counted."""

LOOK_SECONDS = 0.2


class Writer:
    """Writes the deltas of one site."""

    def __init__(self, log: EventLog, site: str) -> None:
        """Take an opened log."""
        self._log = log
        self._site = site
        self._partition = partition_of(site, log.partitions)
        self._waiting: list[tuple[Delta, bytes]] = []
        self._bytes = 0
        self.written: dict[str, Delta] = {}
        """What the log has, by id, without their spans and pages."""

    async def add(self, group: Sequence[Delta]) -> None:
        """Take deltas that go into the log together, in the order given.

        Raises:
            LogUnavailableError: the log did not take them, after `TRIES_MAX` tries.
        """
        values = [encode_record(delta) for delta in group]
        size = sum(map(len, values))
        assert size <= BATCH_BYTES_MAX, "pieces are bounded to half of an append"
        if (
            self._bytes + size > BATCH_BYTES_MAX
            or len(self._waiting) + len(group) > BATCH_RECORDS_MAX
        ):
            await self.flush()
        self._waiting += zip(group, values, strict=True)
        self._bytes += size
        if self._bytes >= APPEND_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Append what waits. A try whose outcome is unknown is repeated: the ids count once.

        Raises:
            LogUnavailableError: the log did not take it, after `TRIES_MAX` tries.
        """
        if not self._waiting:
            return
        key = self._site.encode()
        for left in reversed(range(TRIES_MAX)):
            try:
                await self._log.append(
                    self._partition, [(key, value) for _, value in self._waiting]
                )
                break
            except LogUnavailableError:
                if not left:
                    raise
                await asyncio.sleep(TRY_PAUSE_SECONDS)
        for delta, _ in self._waiting:
            self.written[delta.id] = replace(delta, spans=(), pages={})
        self._waiting, self._bytes = [], 0


async def wait_counted(
    written: dict[str, Delta], read: Callable[[], Awaitable[Sequence[LedgerEntry]]]
) -> int:
    """Wait until the ledger has the deltas; return how many it has not.

    Args:
        written: id → delta.
        read: returns the ledger.

    Raises:
        DeltaError: one was refused, or stands in the ledger with other amounts.
    """
    missing = len(written)
    patience = time.monotonic() + COUNTED_WITHIN_SECONDS
    while True:
        entries = {entry.id: entry for entry in await read() if entry.id in written}
        if len(written) - len(entries) < missing:
            missing = len(written) - len(entries)
            patience = time.monotonic() + COUNTED_WITHIN_SECONDS
        if not missing or time.monotonic() > patience:
            break
        await asyncio.sleep(LOOK_SECONDS)
    for entry in entries.values():
        if entry.outcome != "applied":
            raise DeltaError(f"{entry.id} was refused, nothing of it counts: {entry.reason}")
        if entry.evidence != written[entry.id].evidence:
            raise DeltaError(
                f"{entry.id} was imported by somebody else meanwhile, from other lines ({entry.evidence}); "
                "run the same command again to add what is missing"
            )
    return missing
