"""The plainest store there is: a state in dictionaries, for laws of the fold alone. Not an adapter of the port."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from visits.codec import Decoded, DecodedBatch, LogRecord, decode_batch
from visits.fence import Fence
from visits.fold import fold, wanted
from visits.state import Batch, Head, IdWindow, Parameters, State, Wanted

LOG_ID = "log-1"


class DictStore:
    """Applies batches to dictionaries, and reads the state a fold asks for."""

    def __init__(self, parameters: Parameters) -> None:
        self.head = Head(1, Fence(LOG_ID, 0, ""), 0, 0, IdWindow(), parameters)
        self.tables: dict[str, Any] = {
            name: {} for name in ("counters", "pages", "page_days", "books", "ledger", "seen")
        }
        self.ids: dict[bytes, int] = {}

    def read(self, asked: Wanted) -> State:
        """Return what is asked, copied."""
        pages: dict[str, dict[str, int]] = {}
        for site, names in asked.pages.items():
            table = self.tables["pages"].get(site, {})
            whole = site in asked.whole_pages
            pages[site] = dict(table) if whole else {n: table[n] for n in names if n in table}
        return State(
            head=deepcopy(self.head),
            ids={h: self.ids[h] for h in asked.ids if h in self.ids},
            seen={s: self._some("seen", s, keys) for s, keys in asked.seen.items()},
            pages=pages,
            page_counts={s: len(self.tables["pages"].get(s, {})) for s in asked.pages},
            deltas={
                s: {i for i in ids if i in self.tables["ledger"].get(s, {})}
                for s, ids in asked.deltas.items()
            },
            counters={s: self._some("counters", s, keys) for s, keys in asked.counters.items()},
            page_days={s: deepcopy(self.tables["page_days"].get(s, {})) for s in asked.whole_pages},
        )

    def apply(self, batch: Batch) -> bool:  # noqa: C901  # one loop a table, read in one go
        """Apply a batch if the fence equals its start; claim that it changed anything."""
        if self.head.fence != batch.before:
            return False
        for site, gone in batch.pages_gone.items():
            for page in gone:
                self.tables["pages"].get(site, {}).pop(page, None)
        for site, days in batch.page_days_gone.items():
            for day, gone in days.items():
                for page in gone:
                    self.tables["page_days"].get(site, {}).get(day, {}).pop(page, None)
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
        self.head = Head(
            1, batch.after, batch.as_of, batch.log_time, batch.id_window, batch.parameters
        )
        self._forget(batch)
        return True

    def run(
        self, log: list[LogRecord], cuts: list[int], partition: int = 0, partitions: int = 1
    ) -> None:
        """Fold a log from the store's position on, cut before each of `cuts`."""
        edges = sorted({c for c in cuts if self.head.fence.position < c < len(log)} | {len(log)})
        for edge in edges:
            start = self.head.fence.position
            if start < edge:
                decoded = decode_batch(log[start:edge], partition, partitions)
                assert self.apply(self.decide(decoded))

    def decide(self, decoded: DecodedBatch) -> Batch:
        """Fold one batch against the present state."""
        records: tuple[Decoded, ...] = decoded.records
        return fold(decoded, self.read(wanted(records, self.head.parameters)))

    def dump(self) -> dict[str, Any]:
        """Return everything, without empty tables."""
        return deepcopy(
            {name: {s: t for s, t in table.items() if t} for name, table in self.tables.items()}
            | {"ids": self.ids, "head": self.head}
        )

    def total(self, site: str, field: str) -> int:
        """Return one counter."""
        return int(self.tables["counters"].get(site, {}).get(field, 0))

    def _some(self, name: str, site: str, keys: list[Any]) -> dict[Any, int]:
        table = self.tables[name].get(site, {})
        return {key: table[key] for key in keys if key in table}

    def _forget(self, batch: Batch) -> None:
        self.ids = {h: at for h, at in self.ids.items() if at > batch.ids_known_after}
        for site, seen in self.tables["seen"].items():
            self.tables["seen"][site] = {v: at for v, at in seen.items() if at >= batch.seen_before}
        for by_day in self.tables["page_days"].values():
            for day in [day for day in by_day if day < batch.page_days_before]:
                del by_day[day]


def _add(table: dict[str, int], amounts: dict[str, int]) -> None:
    for field, n in amounts.items():
        table[field] = table.get(field, 0) + n
