"""The fold: what a run of log records changes, decided by the records and the store's state alone (DESIGN 3.1, 3.3).

No configuration, no clock, no randomness. How the log is cut into batches changes nothing: forgetting compares with log time (the
greatest `received` so far), event by event. `wanted` says what must be read first, `fold` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from visits.codec import Decoded, DecodedBatch, day_number
from visits.counters import (
    COUNTER_MAX,
    DAY_MS,
    METRIC_LETTER,
    MINUTE_MS,
    Metric,
    describe_field,
)
from visits.delta import LedgerEntry, delta_amounts
from visits.errors import DeltaError
from visits.fence import fence_after
from visits.page import OTHER
from visits.pattern import compile_pattern
from visits.record import Delta, Ping, Probe, Tally, View
from visits.state import Batch, IdWindow, Parameters, State, Wanted

ONLINE_MINUTES_MAX = 30
"""The greatest `online_minutes` a site may choose."""

COUNTED = "counted"
DUPLICATE = "duplicate"
"""The two names in the books that are no refusals."""

_METRICS = (Metric.VIEWS, Metric.VISITS, Metric.VISITORS)
_VIEWS, _VISITS, _VISITORS = range(3)
_ledger_encoder = msgspec.json.Encoder()


def wanted(records: Sequence[Decoded], parameters: Parameters) -> Wanted:
    """Return what of the store's state decides these records."""
    ids: dict[bytes, None] = {}
    seen: dict[str, dict[bytes, None]] = {}
    pages: dict[str, dict[str, None]] = {}
    deltas: list[Delta] = []
    for item in records:
        record = item.record
        if item.id_hash:
            ids[item.id_hash] = None
        if item.visitor is not None:
            seen.setdefault(record.site, {})[item.visitor] = None
        if item.previous is not None:
            seen.setdefault(record.site, {})[item.previous] = None
        if isinstance(record, View):
            found = pages.get(record.site)
            if found is None:
                found = pages[record.site] = {OTHER: None}
            found[record.page] = None
        elif isinstance(record, Delta):
            deltas.append(record)
    asked = _wanted_by_deltas(deltas, parameters, pages)
    asked.ids = list(ids)
    asked.seen = {site: list(keys) for site, keys in seen.items()}
    asked.pages = {site: list(keys) for site, keys in pages.items()}
    return asked


def _wanted_by_deltas(
    deltas: Sequence[Delta], parameters: Parameters, pages: dict[str, dict[str, None]]
) -> Wanted:
    """Return what only deltas want; the pages they touch join `pages`."""
    ids: dict[str, dict[str, None]] = {}
    counters: dict[str, dict[str, None]] = {}
    whole: dict[str, None] = {}
    for delta in deltas:
        ids.setdefault(delta.site, {})[delta.id] = None
        if delta.pages or delta.forget:
            pages.setdefault(delta.site, {OTHER: None}).update(dict.fromkeys(delta.pages))
        if delta.forget:
            whole[delta.site] = None
        try:
            fields = delta_amounts(delta, parameters.bucket_minutes)
        except DeltaError:
            continue
        counters.setdefault(delta.site, {}).update(dict.fromkeys(fields))
    return Wanted(
        deltas={site: list(keys) for site, keys in ids.items()},
        counters={site: list(keys) for site, keys in counters.items()},
        whole_pages=list(whole),
    )


def fold(decoded: DecodedBatch, state: State) -> Batch:
    """Decide what a run of records changes.

    Args:
        decoded: the records, with at least one taken (`decoded.end`).
        state: the store's answer to `wanted(decoded.records)`, read in one atomic step with the fence.

    Returns:
        The batch that brings the store from `state.head.fence` to the fence after `decoded.end`.
    """
    assert decoded.end is not None, "a batch without a record is never folded"
    work = _Fold(state)
    for item in decoded.records:
        work.take(item)
    return work.batch(decoded)


class _Site:
    """What a batch changes of one site, and what is known of it."""

    __slots__ = ("amounts", "books", "buckets", "gone", "known", "ledger", "page_days", "page_days_gone", "pages", "room",
                 "seen", "seen_set", "views_by_day")  # fmt: skip

    def __init__(self, site: str, state: State) -> None:
        self.seen = state.seen.get(site, {})
        self.known = set(state.pages.get(site, ()))
        has_other = OTHER in self.known
        self.room = state.head.parameters.pages_max - (state.page_counts.get(site, 0) - has_other)
        self.seen_set: dict[bytes, int] = {}
        self.buckets: dict[int, list[int]] = {}
        self.amounts: dict[str, int] = {}
        self.pages: dict[str, int] = {}
        self.page_days: dict[int, dict[str, int]] = {}
        self.books: dict[str, int] = {}
        self.views_by_day: dict[str, int] = {}
        self.ledger: dict[str, bytes] = {}
        self.gone: dict[str, None] = {}
        self.page_days_gone: dict[int, dict[str, None]] = {}

    def last(self, pseudonym: bytes, oldest: int) -> int | None:
        """Return when a reader was last seen, unless that is before `oldest` and forgotten."""
        at = self.seen_set.get(pseudonym)
        if at is None:
            at = self.seen.get(pseudonym)
        return None if at is None or at < oldest else at

    def admit(self, page: str) -> str:
        """Return the page's own name while there is room for it, else `OTHER`; in log order."""
        if page in self.known or page == OTHER:
            return page
        if self.room <= 0:
            return OTHER
        self.room -= 1
        self.known.add(page)
        return page

    def page_count(self, pages_max: int) -> int:
        """Return how many pages have a counter now, `OTHER` among them."""
        return pages_max - self.room + (OTHER in self.known or OTHER in self.pages)

    def book(self, day: str, name: str, n: int) -> None:
        """Book `n` requests of a local day under `name`, by day and in all."""
        dated = f"{day}:{name}"
        self.books[dated] = self.books.get(dated, 0) + n
        self.books[name] = self.books.get(name, 0) + n

    def settle(self, buckets_per_day: int) -> None:
        """Turn the buckets' amounts and the views by day into the fields that are stored."""
        for bucket, cell in self.buckets.items():
            for metric, n in zip(_METRICS, cell, strict=True):
                if n:
                    letter = METRIC_LETTER[metric]
                    for field in (
                        letter,
                        f"{letter}b{bucket}",
                        f"{letter}d{bucket // buckets_per_day}",
                    ):
                        self.amounts[field] = self.amounts.get(field, 0) + n
        self.buckets.clear()
        for day, n in self.views_by_day.items():
            self.book(day, COUNTED, n)
        self.views_by_day.clear()


class _Fold:
    """One run of `fold`: the state as it stands after each record."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.head = state.head
        self.parameters = state.head.parameters
        self.log_time = state.head.log_time
        window = state.head.id_window
        self.id_window = IdWindow(window.floor, dict(window.counts), window.size)
        self.ids = state.ids
        self.ids_set: dict[bytes, int] = {}
        self.ids_again = False
        self.sites: dict[str, _Site] = {}
        self.bucket_ms = self.parameters.bucket_minutes * MINUTE_MS
        self.buckets_per_day = DAY_MS // self.bucket_ms

    def take(self, item: Decoded) -> None:
        """Decide one record, in log order."""
        record = item.record
        if record.received > self.log_time:  # noqa: PLR1730  # a call costs more than the rest of it
            self.log_time = record.received
        site = self.sites.get(record.site)
        if site is None:
            site = self.sites[record.site] = _Site(record.site, self.state)
        if isinstance(record, View):
            self._view(site, record, item)
        elif isinstance(record, Ping):
            self._ping(site, record.at, item)
        elif isinstance(record, Delta):
            self._delta(site, record, item.position)
        elif isinstance(record, Tally):
            self._tally(site, record, item)
        elif isinstance(record, Probe):
            pass
        else:
            assert_never(record)

    def _is_new(self, id_hash: bytes) -> bool:
        """Remember an id; claim that it was not known."""
        stored = self.ids_set.get(id_hash)
        if stored is None:
            stored = self.ids.get(id_hash)
        if stored is not None:
            if stored > self.id_window.known_after(self.log_time, self.parameters):
                return False
            self.ids_again = True
        self.ids_set[id_hash] = self.log_time
        self.id_window.remember(self.log_time, self.parameters)
        return True

    def _view(self, site: _Site, view: View, item: Decoded) -> None:
        if not self._is_new(item.id_hash):
            site.book(view.day, DUPLICATE, 1)
            return
        bucket = view.at // self.bucket_ms
        cell = site.buckets.get(bucket)
        if cell is None:
            cell = site.buckets[bucket] = [0, 0, 0]
        cell[_VIEWS] += 1
        site.views_by_day[view.day] = site.views_by_day.get(view.day, 0) + 1
        page = site.admit(view.page)
        site.pages[page] = site.pages.get(page, 0) + 1
        day = day_number(view.day)
        if day >= self.log_time // DAY_MS - self.parameters.page_days:
            by_page = site.page_days.get(day)
            if by_page is None:
                by_page = site.page_days[day] = {}
            by_page[page] = by_page.get(page, 0) + 1
        if item.visitor is None:
            cell[_VISITS] += view.entry
        else:
            previous = None if item.previous == item.visitor else item.previous
            self._see(site, cell, item.visitor, previous, view.at)

    def _see(
        self, site: _Site, cell: list[int], visitor: bytes, previous: bytes | None, at: int
    ) -> None:
        """Count the visit and the visitor of a view, and note when the reader was last seen."""
        oldest = self.log_time - self.parameters.seen_ms
        own = site.last(visitor, oldest)
        before = None if previous is None else site.last(previous, oldest)
        last = before if own is None else own
        if own is None:
            cell[_VISITORS] += 1
        if last is None or at - last > self.parameters.visit_gap_ms:
            cell[_VISITS] += 1
        site.seen_set[visitor] = at if own is None else max(own, at)
        if previous is not None and before is not None:
            # Moved out of every online window: the reader is online under the new pseudonym.
            site.seen_set[previous] = max(0, min(before, at - ONLINE_MINUTES_MAX * MINUTE_MS))

    def _ping(self, site: _Site, at: int, item: Decoded) -> None:
        """Move on the reader's last sign of life if it is within a visit; a ping begins nothing.

        Just after midnight the reader may be known by yesterday's pseudonym only: then that one moves, so that nobody who goes
        on reading drops from online at midnight.
        """
        oldest = self.log_time - self.parameters.seen_ms
        for pseudonym in (item.visitor, item.previous):
            last = None if pseudonym is None else site.last(pseudonym, oldest)
            if pseudonym is not None and last is not None:
                if 0 <= at - last <= self.parameters.visit_gap_ms:
                    site.seen_set[pseudonym] = at
                return

    def _tally(self, site: _Site, tally: Tally, item: Decoded) -> None:
        if self._is_new(item.id_hash):
            for reason, n in tally.refused.items():
                site.book(tally.day, reason, n)

    def _delta(self, site: _Site, delta: Delta, position: int) -> None:
        """Apply a delta whole or refuse it whole; either way it stands in the ledger, once."""
        if delta.id in site.ledger or delta.id in self.state.deltas.get(delta.site, ()):
            return
        forgotten = 0
        reason = ""
        try:
            amounts = delta_amounts(delta, self.parameters.bucket_minutes)
            self._check_amounts(site, delta, amounts)
            if delta.forget is not None:
                forgotten = self._forget(site, delta.site, delta.forget)
        except (DeltaError, ValueError) as error:
            reason = str(error)
        else:
            for field, n in amounts.items():
                site.amounts[field] = site.amounts.get(field, 0) + n
            for page, n in delta.pages.items():
                admitted = site.admit(page)
                site.pages[admitted] = site.pages.get(admitted, 0) + n
        entry = _entry(delta, position, reason, forgotten)
        site.ledger[delta.id] = _ledger_encoder.encode(entry)

    def _check_amounts(self, site: _Site, delta: Delta, amounts: dict[str, int]) -> None:
        """Refuse a delta that would bring any number below 0 or beyond `COUNTER_MAX`.

        Raises:
            DeltaError: naming the number.
        """
        site.settle(self.buckets_per_day)
        stored = self.state.counters.get(delta.site, {})
        for field, n in amounts.items():
            value = stored.get(field, 0) + site.amounts.get(field, 0)
            if not 0 <= value + n <= COUNTER_MAX:
                raise _beyond(describe_field(field, self.buckets_per_day), value, n)
        pages = self.state.pages.get(delta.site, {})
        for page, n in delta.pages.items():
            if page != OTHER and not page.startswith("/"):
                msg = f"{page!r} is no canonical path"
                raise DeltaError(msg)
            gone = page in site.gone
            value = (0 if gone else pages.get(page, 0)) + site.pages.get(page, 0)
            if not 0 <= value + n <= COUNTER_MAX:
                raise _beyond(f"views of {page}", value, n)

    def _forget(self, site: _Site, name: str, pattern: str) -> int:
        """Fold the pages that match into `OTHER`, in all and by day; return how many."""
        expression = compile_pattern(pattern)
        pages = [page for page in site.known if page != OTHER and expression.fullmatch(page)]
        stored = self.state.pages.get(name, {})
        by_day = self.state.page_days.get(name, {})
        for page in sorted(pages):
            moved = site.pages.pop(page, 0) + (0 if page in site.gone else stored.get(page, 0))
            site.pages[OTHER] = site.pages.get(OTHER, 0) + moved
            for day in by_day.keys() | site.page_days.keys():
                self._forget_day(site, day, page, by_day.get(day, {}))
            site.gone[page] = None
        site.known.difference_update(pages)
        site.room += len(pages)
        return len(pages)

    @staticmethod
    def _forget_day(site: _Site, day: int, page: str, stored: dict[str, int]) -> None:
        """Fold one page's views of one local day into `OTHER`."""
        gone = site.page_days_gone.setdefault(day, {})
        added = site.page_days.setdefault(day, {})
        moved = added.pop(page, 0) + (0 if page in gone else stored.get(page, 0))
        if page in stored:
            gone[page] = None
        if moved:
            added[OTHER] = added.get(OTHER, 0) + moved

    def batch(self, decoded: DecodedBatch) -> Batch:
        """Return all changes, each table without empty entries."""
        assert decoded.end is not None, "a batch without a record is never folded"
        for site in self.sites.values():
            site.settle(self.buckets_per_day)
        sites = self.sites.items()
        return Batch(
            generation=self.head.generation,
            before=self.head.fence,
            after=fence_after(self.head.fence.log_id, decoded.end),
            as_of=max(self.head.as_of, self.log_time),
            log_time=self.log_time,
            id_window=self.id_window,
            parameters=self.parameters,
            counters={name: site.amounts for name, site in sites if site.amounts},
            pages={name: site.pages for name, site in sites if site.pages},
            pages_before=self.state.pages,
            page_days={
                name: kept
                for name, site in sites
                if (kept := {d: p for d, p in site.page_days.items() if p})
            },
            books={name: site.books for name, site in sites if site.books},
            ledger={name: site.ledger for name, site in sites if site.ledger},
            seen={name: site.seen_set for name, site in sites if site.seen_set},
            ids=self.ids_set,
            ids_again=self.ids_again,
            pages_gone={name: list(site.gone) for name, site in sites if site.gone},
            page_days_gone={
                name: kept_gone
                for name, site in sites
                if (kept_gone := {d: list(p) for d, p in site.page_days_gone.items() if p})
            },
            page_counts={
                name: site.page_count(self.parameters.pages_max)
                for name, site in sites
                if name in self.state.page_counts
            },
        )


def _beyond(name: str, value: int, n: int) -> DeltaError:
    bound = "negative" if n < 0 else f"more than {COUNTER_MAX}"
    return DeltaError(f"{name}: {value} and {n:+} more would be {bound}")


def _entry(delta: Delta, position: int, reason: str, forgotten: int) -> LedgerEntry:
    bounded = [
        (span.start, span.end)
        for span in delta.spans
        if span.start is not None and span.end is not None
    ]
    return LedgerEntry(
        id=delta.id,
        position=position,
        at=delta.at,
        outcome="refused" if reason else "applied",
        reason=reason,
        metric=delta.metric.value,
        n=sum(span.n for span in delta.spans),
        start=min((start for start, _ in bounded), default=None)
        if len(bounded) == len(delta.spans)
        else None,
        end=max((end for _, end in bounded), default=None),
        spans=tuple((span.n, span.start, span.end) for span in delta.spans),
        pages=len(delta.pages),
        pages_n=sum(delta.pages.values()),
        forget=delta.forget,
        forgotten=forgotten,
        who=delta.who,
        why=delta.why,
        evidence=delta.evidence,
        estimated=delta.estimated,
    )
