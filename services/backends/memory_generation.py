"""Generations of the store in memory; no step is interrupted, since none awaits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any

import msgspec

from services.backends.generation import (
    RETIRED_KEPT_MS,
    ROWS_AT_ONCE,
    SHADOW_KEPT_MS,
    Behind,
    Moved,
    Overview,
    Rows,
    Swapped,
    Table,
    reaches,
)
from services.backends.memory import MemoryPartition, MemoryStore
from visits.errors import StoreUnavailableError
from visits.fence import Fence
from visits.state import Head, IdWindow, Meta, Parameters


class _Shadow(MemoryStore):
    """The store as seen through the shadow."""

    def __init__(self, generations: MemoryGenerations) -> None:
        super().__init__()
        self._generations = generations

    async def begin(self, partition: int, log_id: str, parameters: Parameters) -> Head:
        """Make a shadow if there is none with a fence."""
        if partition not in self.held:
            await self._generations.discard(partition)
        head = await super().begin(partition, log_id, parameters)
        self._generations.doom(partition, head.generation, _now_ms() + SHADOW_KEPT_MS)
        return head

    def _next_generation(self, partition: int) -> int:
        return self._generations.next_generation(partition)


class MemoryGenerations:
    """All generations of a `MemoryStore`."""

    def __init__(self, live: MemoryStore) -> None:
        """Look after a store's generations."""
        self._live = live
        self._shadow = _Shadow(self)
        self._others: dict[int, dict[int, MemoryPartition]] = {}
        self._doomed: dict[int, dict[int, int]] = {}
        self._loading: dict[int, int] = {}
        self._backed_up_at = 0

    def shadow(self) -> MemoryStore:
        """Return the store as seen through the shadow."""
        return self._shadow

    def doom(self, partition: int, generation: int, at: int) -> None:
        """Say from when on a generation may be removed."""
        self._doomed.setdefault(partition, {})[generation] = at

    def next_generation(self, partition: int) -> int:
        """Return a number that no generation has."""
        held = (self._live.held.get(partition), self._shadow.held.get(partition))
        numbers = [each.head.generation for each in held if each is not None]
        return 1 + max([0, *numbers, *self._doomed.get(partition, {})])

    async def overview(self, partition: int) -> Overview:
        """Return which generations there are."""
        live, shadow = self._live.held.get(partition), self._shadow.held.get(partition)
        loading = self._loading.get(partition, 0)
        return Overview(
            live.head.generation if live else 0,
            shadow.head.generation if shadow else loading,
            dict(self._doomed.get(partition, {})),
        )

    async def keep(self, partition: int, generation: int, until: int) -> None:
        """Put off the removal of a doomed generation."""
        if generation in self._doomed.get(partition, {}):
            self._doomed[partition][generation] = until

    async def discard(self, partition: int) -> None:
        """Leave the shadow to be removed at once."""
        held = self._shadow.held.pop(partition, None)
        generation = self._loading.pop(partition, 0) if held is None else held.head.generation
        if generation:
            self.doom(partition, generation, 0)

    async def swap(
        self, partition: int, generation: int, now: int, over: Fence | None = None
    ) -> Swapped | Behind | Moved:
        """Make the shadow live, if it is counted at least as far."""
        shadow, live = self._shadow.held.get(partition), self._live.held.get(partition)
        if shadow is None or shadow.head.generation != generation:
            return Moved()
        if live is not None:
            mine, its = shadow.head, live.head
            if its.fence != over:
                if not reaches(mine.fence, its.fence):
                    return Behind(its.fence)
                shadow.head = msgspec.structs.replace(mine, as_of=max(mine.as_of, its.as_of))
            self._others.setdefault(partition, {})[its.generation] = live
            self.doom(partition, its.generation, now + RETIRED_KEPT_MS)
        self._live.held[partition] = self._shadow.held.pop(partition)
        del self._doomed[partition][generation]
        return Swapped(generation)

    async def freeze(self, partition: int, until: int) -> Head | None:
        """Copy the live generation."""
        live = self._live.held.get(partition)
        if live is None:
            return None
        copy = deepcopy(live)
        copy.head = msgspec.structs.replace(copy.head, generation=self.next_generation(partition))
        self._others.setdefault(partition, {})[copy.head.generation] = copy
        self.doom(partition, copy.head.generation, until)
        return copy.head

    async def sweep(self, partition: int, now: int) -> bool:
        """Remove everything doomed."""
        for generation in [g for g, at in self._doomed.get(partition, {}).items() if at <= now]:
            del self._doomed[partition][generation]
            self._others.get(partition, {}).pop(generation, None)
            shadow = self._shadow.held.get(partition)
            if shadow is not None and shadow.head.generation == generation:
                del self._shadow.held[partition]
            if self._loading.get(partition) == generation:
                del self._loading[partition]
        return False

    async def sites(self, partition: int, generation: int) -> list[str]:
        """Return the sites with anything."""
        tables = self._find(partition, generation).tables.values()
        return sorted({site for table in tables for site, rows in table.items() if rows})

    async def scan(
        self, partition: int, generation: int, table: Table, site: str
    ) -> AsyncIterator[dict[Any, Any]]:
        """Yield a table; ids oldest first."""
        rows = iter(self._rows(partition, generation, table, site).items())
        while some := dict(islice(rows, ROWS_AT_ONCE)):
            yield some

    async def look_up(
        self, partition: int, generation: int, table: Table, site: str, names: Sequence[Any]
    ) -> dict[Any, Any]:
        """Return the rows of some names."""
        rows = self._rows(partition, generation, table, site)
        return {name: rows[name] for name in names if name in rows}

    async def start_load(self, partition: int, now: int) -> int:
        """Make a shadow without a fence."""
        await self.discard(partition)
        generation = self.next_generation(partition)
        self._others.setdefault(partition, {})[generation] = MemoryPartition(_no_head(generation))
        self._loading[partition] = generation
        self.doom(partition, generation, now + SHADOW_KEPT_MS)
        return generation

    async def load(
        self, partition: int, generation: int, table: Table, site: str, rows: Rows, head: Head
    ) -> None:
        """Put rows into a shadow without a fence."""
        del head
        held = self._others[partition][generation]
        if table is Table.IDS:
            held.ids.update(rows)
        elif table is Table.PAGE_DAYS:
            for (day, page), views in rows.items():
                held.tables[table].setdefault(site, {}).setdefault(day, {})[page] = views
        else:
            held.tables[table].setdefault(site, {}).update(rows)

    async def finish_load(self, partition: int, generation: int, head: Head) -> None:
        """Give a loaded shadow its fence."""
        if self._loading.get(partition) != generation:
            raise StoreUnavailableError(f"generation {generation} is no longer the shadow")
        del self._loading[partition]
        held = self._others[partition].pop(generation)
        held.head = msgspec.structs.replace(head, generation=generation)
        self._shadow.held[partition] = held

    async def replace_meta(self, meta: Meta) -> None:
        """Set what the store holds to."""
        await self._live.put_meta_anew(meta)

    async def note_backup(self, at: int) -> None:
        """Note when the last backup was complete."""
        self._backed_up_at = at

    async def backed_up_at(self) -> int:
        """Return when the last backup was complete."""
        return self._backed_up_at

    def _find(self, partition: int, generation: int) -> MemoryPartition:
        for held in (self._live.held.get(partition), self._shadow.held.get(partition)):
            if held is not None and held.head.generation == generation:
                return held
        found = self._others.get(partition, {}).get(generation)
        return found or MemoryPartition(_no_head(generation))

    def _rows(self, partition: int, generation: int, table: Table, site: str) -> dict[Any, Any]:
        held = self._find(partition, generation)
        if table is Table.IDS:
            return dict(sorted(held.ids.items(), key=lambda item: item[1]))
        rows = held.table(table, site)
        if table is Table.PAGE_DAYS:
            return {(day, page): views for day, of in rows.items() for page, views in of.items()}
        return dict(rows)


def _no_head(generation: int) -> Head:
    return Head(generation, Fence("", 0, ""), 0, 0, IdWindow(), Parameters())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
