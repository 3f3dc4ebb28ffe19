"""The route of the ledger: every opening balance, import and correction, also those that were refused."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request, Response

from services.api.answer import Told, negotiated
from services.api.lane import PATIENCE_SECONDS, Kept, Lane
from services.api.parameter import FormatName
from services.api.reading import Readings
from services.api.table import as_csv
from services.runtime.site import Site
from visits.delta import LedgerEntry
from visits.window import iso

AT_ONCE = 4
SPANS_SHOWN = 50
"""How many spans of one entry the JSON shows; an import may have tens of thousands."""

MOMENTS = ("at", "start", "end")
NAMES = {"start": "from", "end": "to"}
_COLUMNS = (
    "id", "position", "at", "outcome", "reason", "metric", "n", "from", "to", "spans_count", "pages", "pages_n",
    "forget", "forgotten", "who", "why", "evidence", "estimated",
)  # fmt: skip


class LedgerRoutes:
    """The ledger of a site."""

    def __init__(self, readings: Readings) -> None:
        """Take what reads."""
        self._readings = readings
        self._lane: Lane[tuple[LedgerEntry, ...]] = Lane(at_once=AT_ONCE)

    async def ledger(self, request: Request, site: str, form: FormatName = None) -> Response:
        """List every opening balance and correction of a site, in the order in which they were counted."""
        declared = self._readings.site(site)
        kept = await self.entries(declared)

        def lines() -> list[dict[str, Any]]:
            return [_line(entry, declared) for entry in kept.value]

        told = Told(
            f"{site}-ledger",
            lambda: {"site": site, "entries": lines(), "stale": kept.is_late},
            lambda: as_csv(_COLUMNS, [[line[name] for name in _COLUMNS] for line in lines()]),
            lambda: (declared.settings.timezone, kept.value, kept.is_late),
        )
        return negotiated(request, form, kept, None, told)

    async def entries(
        self, site: Site, patience_seconds: float = PATIENCE_SECONDS
    ) -> Kept[tuple[LedgerEntry, ...]]:
        """Return the ledger in log order, as it is kept for all who ask; raises as `Lane.get`."""
        key = (site.id, str(site.zone))
        return await self._lane.get(key, lambda: self._read(site), patience_seconds)

    async def close(self) -> None:
        """End what is being read."""
        await self._lane.close()

    async def _read(self, site: Site) -> tuple[LedgerEntry, ...]:
        partition = await self._readings.partition(site)
        return entries_of(await self._readings.store.read_ledger(partition, site.id))


def entries_of(raw: list[bytes]) -> tuple[LedgerEntry, ...]:
    """Return ledger entries in log order."""
    found = [msgspec.json.decode(entry, type=LedgerEntry) for entry in raw]
    return tuple(sorted(found, key=lambda entry: entry.position))


def _line(entry: LedgerEntry, site: Site) -> dict[str, Any]:
    """Return an entry with every field, moments as ISO 8601 in the site's zone; a `null` bound is before every bucket."""

    def moment(at: int | None) -> str | None:
        return None if at is None else iso(at, site.zone)

    line: dict[str, Any] = {
        NAMES.get(name, name): value for name, value in msgspec.structs.asdict(entry).items()
    }
    for name in MOMENTS:
        line[NAMES.get(name, name)] = moment(getattr(entry, name))
    line["spans_count"] = len(entry.spans)
    line["spans"] = [
        {"from": moment(start), "to": moment(end), "n": n}
        for n, start, end in entry.spans[:SPANS_SHOWN]
    ]
    return line
