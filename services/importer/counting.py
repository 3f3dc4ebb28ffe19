"""Counts views of the past by the fold of live counting, over a state in memory, and keeps what each local day amounts to.

Pseudonyms come from a random salt a local day that never leaves this process; what leaves is sums.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import lru_cache
from operator import attrgetter

from msgspec import Struct, field

from services.importer.judge import Shown
from services.ingest.local_day import Calendar, LocalDay
from services.runtime.site import Site
from visits.codec import Decoded, DecodedBatch, LogRecord
from visits.counters import DAY_MS, METRIC_LETTER, Metric
from visits.fence import Fence
from visits.fold import fold
from visits.page import OTHER
from visits.pseudonym import SALT_BYTES, pseudonym
from visits.record import VERSION, View
from visits.state import Head, IdWindow, Parameters, State
from visits.window import day_start, local_day

GRACE_MS = DAY_MS
"""A local day stays open until this long after its end in the log's time; a view that comes later still is refused."""

CACHE_SIZE = 100_000
_NOWHERE = Fence("import", 0, "")
_METRIC_OF = {letter: metric for metric, letter in METRIC_LETTER.items()}
_at = attrgetter("at")
_END = LogRecord(0, 0, b"", b"")


class DayCount(Struct):
    """What the views of one local day amount to.

    Attributes:
        day: the local date.
        first: the moment of its first view (Unix milliseconds).
        last: of its last one.
        buckets: metric → bucket → amount.
        pages: page → views.
    """

    day: date
    first: int
    last: int
    buckets: dict[Metric, dict[int, int]] = field(
        default_factory=lambda: {metric: {} for metric in Metric}
    )
    pages: dict[str, int] = field(default_factory=dict)

    def total(self, metric: Metric) -> int:
        """Return the day's sum."""
        return sum(self.buckets[metric].values())


class Counting:
    """The views of one site, in the order of time."""

    def __init__(self, site: Site, parameters: Parameters) -> None:
        """Begin with nobody seen.

        Args:
            site: where the views belong.
            parameters: what the fold goes by.
        """
        self._site = site
        self._parameters = parameters
        # Pages are admitted when the deltas are folded: what has room then is not known here.
        self._fold_parameters = Parameters(
            parameters.bucket_minutes, parameters.visit_gap_ms, pages_max=1 << 53
        )
        self._calendar = Calendar()
        self._salts: dict[str, bytes] = {}
        self._seen: dict[bytes, int] = {}
        self._log_time = 0
        self._position = 0
        self._days: dict[date, DayCount] = {}
        self._pseudonym = lru_cache(CACHE_SIZE)(self._make_pseudonym)
        self.closed_until = 0
        """Views before this moment come too late: their day was given away."""

    @property
    def latest(self) -> int:
        """The moment of the latest view (Unix milliseconds)."""
        return self._log_time

    def take(self, shown: Sequence[Shown], *, counts: bool) -> None:
        """Fold views; with `counts` false only who was seen when is kept, since an earlier import has counted them.

        Args:
            shown: in the order of time, none before `closed_until`.
            counts: they add to their days.
        """
        begin = 0
        while begin < len(shown):
            today = self._calendar.day(shown[begin].at, self._site.zone)
            end = bisect_left(shown, today.end, lo=begin, key=_at)
            self._take_day(today, shown[begin:end], counts=counts)
            begin = end

    def _take_day(self, today: LocalDay, shown: Sequence[Shown], *, counts: bool) -> None:
        decoded = tuple([self._decoded(today, item) for item in shown])
        seen = {
            key: self._seen[key]
            for item in decoded
            for key in (item.visitor, item.previous)
            if key is not None and key in self._seen
        }
        head = Head(1, _NOWHERE, 0, self._log_time, IdWindow(), self._fold_parameters)
        site = self._site.id
        batch = fold(DecodedBatch(decoded, (), _END, None), State(head, seen={site: seen}))
        self._log_time = batch.log_time
        self._seen.update(batch.seen.get(site, {}))
        if counts:
            day = date.fromisoformat(today.day)
            count = self._days.get(day)
            if count is None:
                count = self._days[day] = DayCount(day, shown[0].at, shown[-1].at)
            count.first = min(count.first, shown[0].at)
            count.last = max(count.last, shown[-1].at)
            self._add_counters(count, batch.counters.get(site, {}))
            self._add_pages(count, batch.pages.get(site, {}))

    def close_days(self) -> list[DayCount]:
        """Return the days that ended `GRACE_MS` ago in the log's time; what comes later for them is late."""
        zone = self._site.zone
        until = day_start(local_day(max(0, self._log_time - GRACE_MS), zone), zone)
        if until <= self.closed_until:
            return []
        self.closed_until = until
        forgotten = self._log_time - self._parameters.seen_ms
        self._seen = {key: at for key, at in self._seen.items() if at >= forgotten}
        kept = sorted(self._salts)[-4:]
        self._salts = {day: self._salts[day] for day in kept}
        return self._give(lambda day: day_start(day + timedelta(days=1), zone) <= until)

    def close_all(self) -> list[DayCount]:
        """Return all days that are left."""
        return self._give(lambda _day: True)

    def _give(self, is_closed: Callable[[date], bool]) -> list[DayCount]:
        closed = sorted(day for day in self._days if is_closed(day))
        return [self._days.pop(day) for day in closed]

    def _decoded(self, today: LocalDay, shown: Shown) -> Decoded:
        """Return the record that ingest would have written for this view."""
        visitor = previous = None
        if shown.network is not None:
            visitor = self._pseudonym(today.day, shown.network, shown.agent)
            if today.has_previous(shown.at):
                previous = self._pseudonym(today.before, shown.network, shown.agent)
        self._position += 1
        view = View(
            v=VERSION,
            site=self._site.id,
            id="import",
            at=shown.at,
            received=shown.at,
            day=today.day,
            page=shown.page,
            entry=shown.entry,
        )
        # No two lines are one view: an id that never comes again.
        return Decoded(view, self._position, self._position.to_bytes(8, "big"), visitor, previous)

    def _make_pseudonym(self, day: str, network: bytes, agent: str) -> bytes:
        salt = self._salts.get(day)
        if salt is None:
            salt = self._salts[day] = secrets.token_bytes(SALT_BYTES)
        return pseudonym(salt, self._site.id, network, agent)

    def _add_counters(self, count: DayCount, amounts: dict[str, int]) -> None:
        for name, n in amounts.items():
            if name[1:2] == "b":
                by_bucket, bucket = count.buckets[_METRIC_OF[name[0]]], int(name[2:])
                by_bucket[bucket] = by_bucket.get(bucket, 0) + n

    def _add_pages(self, count: DayCount, pages: dict[str, int]) -> None:
        held = count.pages
        for page, n in pages.items():
            name = page if page in held or len(held) < self._parameters.pages_max else OTHER
            held[name] = held.get(name, 0) + n
