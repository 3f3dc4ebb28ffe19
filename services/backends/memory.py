"""A log and a store in one process's memory: fakes that obey the same laws as the real pairs (`tests/contract/`).

For tests and experiments; everything is gone when the process ends, so no URL of the configuration leads here.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self

import msgspec

from services.backends.port import (
    FETCH_RECORDS_MAX,
    Account,
    Applied,
    Disk,
    Extent,
    Fetched,
    Identity,
    LogConsumer,
    Miss,
    Reading,
)
from visits.codec import DeadRecord, LogRecord
from visits.fence import Fence
from visits.page import OTHER
from visits.state import SCHEMA, Batch, Head, IdWindow, Meta, Parameters, State, Wanted

if TYPE_CHECKING:
    from services.backends.memory_generation import MemoryGenerations

FIRST_GENERATION = 1
_TABLES = ("counters", "pages", "page_days", "books", "ledger", "seen")


class MemoryLog:
    """Partitions as lists; one consumer reads all of them."""

    rebuilds = 0

    def __init__(self, partitions: int = 1) -> None:
        """Make an empty log with an identity of its own."""
        self._partitions = partitions
        self._log_id = uuid.uuid4().hex
        self.records: list[list[LogRecord]] = [[] for _ in range(partitions)]
        self.epochs = [0] * partitions
        self.dead: list[DeadRecord] = []
        self.grown = asyncio.Condition()

    @property
    def partitions(self) -> int:
        """How many partitions the log has."""
        return self._partitions

    async def open(self) -> Self:
        """Do nothing: there is nothing to connect to."""
        return self

    async def log_id(self) -> str:
        """Return which log it is."""
        return self._log_id

    async def disks(self) -> list[Disk]:
        """Return none: memory has no disk."""
        return []

    async def identity(self) -> Identity:
        """Return which log it is, with an epoch a partition."""
        return Identity(self._log_id, dict(enumerate(self.epochs)))

    def lose_tail(self, partition: int, kept: int) -> None:
        """Forget all but the first `kept` records, as a broker does that lost power, and go on in a new epoch."""
        del self.records[partition][kept:]
        self.epochs[partition] += 1

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        """Append records; the log's time of a record is its position."""
        async with self.grown:
            held = self.records[partition]
            first = len(held)
            held += [
                LogRecord(position, position, key, value)
                for position, (key, value) in enumerate(records, start=first)
            ]
            self.grown.notify_all()
        return first

    async def bury(self, partition: int, dead: Sequence[DeadRecord]) -> None:  # noqa: ARG002  # the port's
        """Keep what cannot be read."""
        self.dead += dead

    async def consumer(self) -> LogConsumer:
        """Return a reader of all partitions."""
        return MemoryConsumer(self, range(self._partitions))

    async def replay(self, partition: int) -> LogConsumer:
        """Return a reader of one partition."""
        return MemoryConsumer(self, (partition,))

    async def close(self) -> None:
        """Do nothing."""


class MemoryConsumer:
    """Reads partitions from where each was sought."""

    def __init__(self, log: MemoryLog, partitions: Iterable[int]) -> None:
        """Take the log and what to read of it; nothing is handed out before `seek`."""
        self._log = log
        self._assigned = frozenset(partitions)
        self._at: dict[int, int] = {}
        self._epochs = dict.fromkeys(range(log.partitions), 0)

    @property
    def assigned(self) -> frozenset[int]:
        """All that it was made for."""
        return self._assigned

    def generation(self, partition: int) -> int:  # noqa: ARG002  # nothing is ever assigned anew
        """Return 1."""
        return 1

    async def seek(self, partition: int, position: int) -> int:
        """Read on from a position."""
        self._at[partition] = position
        self._epochs[partition] += 1
        return self._epochs[partition]

    async def fetch(self, wait_seconds: float) -> list[Fetched]:
        """Return what has come since; waits for the first record."""
        with suppress(TimeoutError):
            async with self._log.grown, asyncio.timeout(wait_seconds):
                await self._log.grown.wait_for(self._has_more)
        return [self._take(partition) for partition in list(self._at)]

    async def extent(self, partition: int) -> Extent:
        """Return what the log holds."""
        return Extent(0, len(self._log.records[partition]))

    async def note_position(self, positions: dict[int, int]) -> None:
        """Do nothing: no lag tool looks here."""

    async def close(self) -> None:
        """Do nothing."""

    def _is_behind(self, partition: int) -> bool:
        return self._at[partition] < len(self._log.records[partition])

    def _has_more(self) -> bool:
        return any(self._is_behind(partition) for partition in self._at)

    def _take(self, partition: int) -> Fetched:
        held, at = self._log.records[partition], self._at[partition]
        taken = tuple(held[at : at + FETCH_RECORDS_MAX])
        self._at[partition] = at + len(taken)
        now = time.time_ns() // 1_000_000
        return Fetched(partition, self._epochs[partition], taken, len(held), now)


class MemoryPartition:
    """One generation of one partition."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.ids: dict[bytes, int] = {}
        self.tables: dict[str, dict[str, dict[Any, Any]]] = {name: {} for name in _TABLES}

    def table(self, name: str, site: str) -> dict[Any, Any]:
        """Return one site's table, empty where there is none."""
        return self.tables[name].get(site, {})

    def some(self, name: str, wanted: Mapping[str, Sequence[Any]]) -> dict[str, dict[Any, int]]:
        """Return of each site's table what is wanted and there."""
        return {site: _pick(self.table(name, site), keys) for site, keys in wanted.items()}

    def change(self, batch: Batch) -> None:
        """Remove, add, set, forget, in the order of `Batch`."""
        for site, gone in batch.pages_gone.items():
            _remove(self.table("pages", site), gone)
        for site, gone_days in batch.page_days_gone.items():
            for day, gone in gone_days.items():
                _remove(self.table("page_days", site).get(day, {}), gone)
        for name in ("counters", "pages", "books"):
            for site, amounts in getattr(batch, name).items():
                _add(self.tables[name].setdefault(site, {}), amounts)
        for site, by_day in batch.page_days.items():
            for day, amounts in by_day.items():
                _add(self.tables["page_days"].setdefault(site, {}).setdefault(day, {}), amounts)
        for name in ("ledger", "seen"):
            for site, values in getattr(batch, name).items():
                self.tables[name].setdefault(site, {}).update(values)
        self.ids.update(batch.ids)
        self._forget(batch)

    def _forget(self, batch: Batch) -> None:
        self.ids = {key: at for key, at in self.ids.items() if at > batch.ids_known_after}
        for site, seen in self.tables["seen"].items():
            self.tables["seen"][site] = {k: at for k, at in seen.items() if at >= batch.seen_before}
        for by_day in self.tables["page_days"].values():
            _remove(by_day, [day for day in by_day if day < batch.page_days_before])


class MemoryStore:
    """Counters and the fold's state in dictionaries; no step is interrupted, since none awaits."""

    schema = SCHEMA

    def __init__(self) -> None:
        """Make an empty store."""
        self._meta: Meta | None = None
        self._salts: dict[str, bytes] = {}
        self.held: dict[int, MemoryPartition] = {}
        self._others: MemoryGenerations | None = None

    async def open(self) -> Self:
        """Do nothing: there is nothing to connect to."""
        return self

    async def meta(self) -> Meta | None:
        """Return what the store holds to."""
        return self._meta

    async def put_meta(self, meta: Meta) -> Meta:
        """Set the meta once."""
        self._meta = self._meta or meta
        return self._meta

    async def begin(self, partition: int, log_id: str, parameters: Parameters) -> Head:
        """Make the first generation if there is none."""
        if partition not in self.held:
            generation = self._next_generation(partition)
            head = Head(generation, Fence(log_id, 0, ""), 0, 0, IdWindow(), parameters)
            self.held[partition] = MemoryPartition(head)
        return deepcopy(self.held[partition].head)

    async def head(self, partition: int) -> Head | None:
        """Return the live head."""
        held = self.held.get(partition)
        return None if held is None else deepcopy(held.head)

    async def read_state(self, partition: int, generation: int, wanted: Wanted) -> State | None:
        """Read everything wanted and the head, copied."""
        held = self.held.get(partition)
        if held is None or held.head.generation != generation:
            return None
        pages = held.some("pages", wanted.pages)
        pages |= {site: held.table("pages", site) for site in wanted.whole_pages}
        found = State(
            head=held.head,
            ids=_pick(held.ids, wanted.ids),
            seen=held.some("seen", wanted.seen),
            pages=pages,
            page_counts={site: len(held.table("pages", site)) for site in wanted.pages},
            deltas={s: set(found) for s, found in held.some("ledger", wanted.deltas).items()},
            counters=held.some("counters", wanted.counters),
            page_days={site: held.table("page_days", site) for site in wanted.whole_pages},
        )
        return deepcopy(found)

    async def apply(self, partition: int, batch: Batch) -> Applied | Miss:
        """Apply a batch under its fence."""
        held = self.held.get(partition)
        if held is None or held.head.generation != batch.generation:
            return _miss(held)
        head = held.head
        if head.fence == batch.after:
            return Applied(already=True)
        if head.fence != batch.before or head.parameters != batch.parameters:
            return _miss(held)
        batch = deepcopy(batch)
        held.change(batch)
        as_of = max(head.as_of, batch.as_of)
        held.head = Head(
            head.generation, batch.after, as_of, batch.log_time, batch.id_window, head.parameters
        )
        return Applied()

    async def touch(
        self, partition: int, generation: int, fence: Fence, as_of: int
    ) -> Applied | Miss:
        """Say that the numbers at a fence hold for a moment."""
        held = self.held.get(partition)
        if held is None or held.head.generation != generation or held.head.fence != fence:
            return _miss(held)
        held.head = msgspec.structs.replace(held.head, as_of=max(held.head.as_of, as_of))
        return Applied()

    async def read_counters(
        self, partition: int, site: str, fields: Sequence[str], online_after: int, online_until: int
    ) -> Reading | None:
        """Read counters and who was seen."""
        held = self.held.get(partition)
        if held is None:
            return None
        counters = held.table("counters", site)
        seen = held.table("seen", site).values()
        online = sum(online_after < at <= online_until for at in seen)
        return _reading(held.head, tuple(counters.get(name, 0) for name in fields), online=online)

    async def read_pages(self, partition: int, site: str, pages: Sequence[str]) -> Reading | None:
        """Read the views in all of some pages."""
        held = self.held.get(partition)
        if held is None:
            return None
        table = held.table("pages", site)
        values = tuple(table.get(page) for page in pages)
        return _reading(held.head, values, has_other=table.get(OTHER, 0) != 0)

    async def read_ledger(self, partition: int, site: str) -> list[bytes]:
        """Return the ledger's entries."""
        return list(self._table(partition, "ledger", site).values())

    async def read_books(self, partition: int, site: str) -> dict[str, int]:
        """Return a site's books."""
        return self._table(partition, "books", site)

    async def scan_pages(
        self, partition: int, site: str, day: int | None
    ) -> AsyncIterator[dict[str, int]]:
        """Yield the views of every page at once."""
        pages = self._table(partition, "pages" if day is None else "page_days", site)
        yield pages if day is None else pages.get(day, {})

    async def scan_counters(self, partition: int, site: str) -> AsyncIterator[dict[str, int]]:
        """Yield all counters at once."""
        yield self._table(partition, "counters", site)

    async def read_account(
        self, partition: int, site: str, fields: Sequence[str]
    ) -> Account | None:
        """Return some counters with all books and the ledger."""
        held = self.held.get(partition)
        if held is None:
            return None
        counters = _pick(held.table("counters", site), fields)
        books, ledger = (dict(held.table(name, site)) for name in ("books", "ledger"))
        return Account(deepcopy(held.head), counters, books, list(ledger.values()))

    async def put_salt(self, day: str, salt: bytes) -> bytes:
        """Keep a salt if there is none for its date."""
        return self._salts.setdefault(day, salt)

    async def salts(self, days: Sequence[str]) -> dict[str, bytes]:
        """Return the salts there are."""
        return {day: self._salts[day] for day in days if day in self._salts}

    async def forget_salts(self, before: str) -> None:
        """Destroy old salts."""
        _remove(self._salts, [day for day in self._salts if day < before])

    async def ping(self) -> None:
        """Do nothing: memory is always there."""

    async def dump(self, partition: int) -> dict[str, object]:
        """Return everything of the live generation."""
        held = self.held.get(partition)
        if held is None:
            return {}
        tables = deepcopy(held.tables)
        for name, by_key in (("seen", tables["seen"]), ("page_days", tables["page_days"])):
            for site, table in by_key.items():
                kept = {key: value for key, value in table.items() if value != {}}
                by_key[site] = _hexadecimal(kept) if name == "seen" else kept
        return {n: {s: t for s, t in by_site.items() if t} for n, by_site in tables.items()} | {
            "ids": _hexadecimal(held.ids),
            "fence": held.head.fence,
            "log_time": held.head.log_time,
            "id_window": deepcopy(held.head.id_window),
        }

    def generations(self) -> MemoryGenerations:
        """Return the generations beside the live one."""
        from services.backends.memory_generation import MemoryGenerations  # noqa: PLC0415  # the other way round too

        self._others = self._others or MemoryGenerations(self)
        return self._others

    async def put_meta_anew(self, meta: Meta) -> None:
        """Set the meta, whatever stood there."""
        self._meta = meta

    async def close(self) -> None:
        """Do nothing."""

    def _next_generation(self, partition: int) -> int:
        return FIRST_GENERATION if self._others is None else self._others.next_generation(partition)

    def _table(self, partition: int, name: str, site: str) -> dict[Any, Any]:
        held = self.held.get(partition)
        return {} if held is None else deepcopy(held.table(name, site))


def _miss(held: MemoryPartition | None) -> Miss:
    return Miss(None, 0) if held is None else Miss(held.head.fence, held.head.generation)


def _reading(
    head: Head, values: tuple[int | None, ...], *, online: int = 0, has_other: bool = False
) -> Reading:
    fence, bucket_minutes = head.fence, head.parameters.bucket_minutes
    return Reading(
        fence.position,
        fence.log_id,
        head.generation,
        head.as_of,
        values,
        online,
        has_other,
        bucket_minutes,
    )


def _pick(table: Mapping[Any, Any], keys: Sequence[Any]) -> dict[Any, Any]:
    return {key: table[key] for key in keys if key in table}


def _add(table: dict[str, int], amounts: Mapping[str, int]) -> None:
    for name, amount in amounts.items():
        table[name] = table.get(name, 0) + amount


def _remove(table: dict[Any, Any], keys: Sequence[Any]) -> None:
    for key in keys:
        table.pop(key, None)


def _hexadecimal(table: Mapping[bytes, int]) -> dict[str, int]:
    return {key.hex(): at for key, at in table.items()}
