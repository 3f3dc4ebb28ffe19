"""From files to what every local day amounts to: lines are read, judged, brought into order, folded; every line is booked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from operator import attrgetter

from services.importer.counting import Counting, DayCount
from services.importer.day_totals import DayTotals
from services.importer.history import Covered
from services.importer.judge import Judge, Period, Shown
from services.importer.line import LineError, parse_ncsa
from services.importer.order import in_order, merge
from services.importer.piece import DayAmounts, spans_of
from services.importer.source import Format, Source, SourceError
from services.importer.tally import Reason, Tally
from services.importer.w3c import W3c
from services.ingest.client_address import ClientFinder
from services.runtime.site import Site
from visits.counters import Metric
from visits.state import Parameters
from visits.window import day_start

TICK_LINES = 2_000
"""How many lines lie between two calls of `on_progress`."""

_at = attrgetter("at")


class Reading:
    """Reads all files of one run."""

    def __init__(
        self,
        site: Site,
        sources: Sequence[Source],
        metrics: Sequence[Metric],
        period: Period,
        covered: Mapping[Metric, Covered],
        parameters: Parameters,
        clients: ClientFinder,
        on_progress: Callable[[], None],
    ) -> None:
        """Prepare to read.

        Args:
            site: where the views belong.
            sources: the files, open.
            metrics: which ones are wanted; empty for all.
            period: from when to when lines count.
            covered: metric → what earlier imports have read.
            parameters: what the fold goes by.
            clients: finds readers behind trusted proxies.
            on_progress: called every `TICK_LINES` lines; what it raises ends the reading.

        Raises:
            SourceError: access logs and day totals cannot be mixed.
        """
        self.tally = Tally()
        self._site = site
        self._sources = sources
        self._metrics = metrics
        self._period = period
        self._covered = covered
        self._judge = Judge(site, clients, period)
        self._counting = Counting(site, parameters)
        self._bucket_minutes = parameters.bucket_minutes
        self._on_progress = on_progress
        self._first: int | None = None
        if len({source.format is Format.CSV for source in sources}) > 1:
            raise SourceError(
                "access logs and CSV files of day totals are imported one after the other"
            )

    def days(self) -> Iterator[DayAmounts]:
        """Yield what each day adds, a day as soon as no line can belong to it any more.

        Raises:
            SourceError: a file cannot be read to its end; what was yielded holds.
        """
        if self._sources[0].format is Format.CSV:
            for source in self._sources:
                totals = DayTotals(
                    source, self._site, self._metrics, self._period, self.tally, self._covered
                )
                yield from totals.days()
                self._on_progress()
            return
        for chunk in in_order(merge([self._shown(source) for source in self._sources])):
            self._take(chunk)
            yield from map(self._amounts, self._counting.close_days())
        self._on_progress()
        yield from map(self._amounts, self._counting.close_all())

    def _shown(self, source: Source) -> Iterator[Shown]:
        """Yield the pages that one access log shows; book every other line."""
        tally, refused, judge = self.tally, self.tally.refused, self._judge.judge
        parse = W3c().parse if source.format is Format.W3C else parse_ncsa
        for number, (raw, is_whole) in enumerate(source.lines(), start=1):
            if not number % TICK_LINES:
                self._on_progress()
            tally.read += 1
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape").rstrip()
            if not line:
                refused[Reason.NO_REQUEST] += 1
                continue
            if not is_whole:
                tally.refuse_malformed(source.name, number, "a line of more than 64 KiB")
                continue
            try:
                hit = parse(line)
            except LineError as error:
                tally.refuse_malformed(source.name, number, str(error))
                continue
            judged = Reason.NO_REQUEST if hit is None else judge(hit)
            if isinstance(judged, Reason):
                refused[judged] += 1
            else:
                yield judged

    def _take(self, chunk: list[Shown]) -> None:
        """Fold one sorted chunk; what comes too late or was imported before adds nothing."""
        tally = self.tally
        late = bisect_left(chunk, self._counting.closed_until, key=_at)
        if late:
            tally.refused[Reason.LATE] += late
        if late < len(chunk) and self._first is None:
            self._first = chunk[late].at
        for is_covered, group in groupby(chunk[late:], key=self._is_covered):
            shown = list(group)
            self._counting.take(shown, counts=not is_covered)
            if is_covered:
                tally.refused[Reason.ALREADY_IMPORTED] += len(shown)
            else:
                tally.counted += len(shown)

    def _is_covered(self, shown: Shown) -> bool:
        return any(covered.holds(shown.at) for covered in self._covered.values())

    def _amounts(self, count: DayCount) -> DayAmounts:
        """Return what a day adds, and between which moments it was read whole."""
        day_begin = day_start(count.day, self._site.zone)
        day_end = day_start(count.day + timedelta(days=1), self._site.zone)
        began_before = self._first is not None and self._first < day_begin
        goes_on = self._counting.latest >= day_end
        return DayAmounts(
            count.day,
            day_begin if began_before else count.first,
            day_end if goes_on else count.last + 1000,
            {
                metric: spans_of(count.buckets[metric], self._bucket_minutes)
                for metric in self._metrics or Metric
            },
            count.pages,
        )
