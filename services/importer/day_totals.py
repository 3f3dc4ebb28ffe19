"""Day totals as any old counter can export them: CSV of `date,n`, or with a heading that names views, visits and visitors."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from services.importer.history import Covered
from services.importer.judge import Period
from services.importer.piece import DayAmounts
from services.importer.source import Source
from services.importer.tally import Reason, Tally
from services.runtime.site import Site
from visits.counters import Metric
from visits.errors import DeltaError
from visits.record import AMOUNT_MAX, Span
from visits.window import day_start

_NAMES = {
    "views": Metric.VIEWS,
    "page views": Metric.VIEWS,
    "pageviews": Metric.VIEWS,
    "lượt xem": Metric.VIEWS,
    "visits": Metric.VISITS,
    "sessions": Metric.VISITS,
    "lượt truy cập": Metric.VISITS,
    "visitors": Metric.VISITORS,
    "users": Metric.VISITORS,
    "khách": Metric.VISITORS,
}
"""How headings name the metrics: ours, and those of Matomo, Plausible and Google Analytics."""

_DATE_NAMES = frozenset({"date", "day", "from", "ngày"})
"""`from` heads the CSV of our own history."""


class RowError(DeltaError):
    """A row that is no day's total; says why."""


class DayTotals:
    """Reads one file of day totals."""

    def __init__(
        self,
        source: Source,
        site: Site,
        metrics: Sequence[Metric],
        period: Period,
        tally: Tally,
        covered: Mapping[Metric, Covered],
    ) -> None:
        """Prepare to read.

        Args:
            source: the file.
            site: in whose zone the days are cut.
            metrics: which ones are wanted, empty for all; `date,n` is of the first one, else of the site's.
            period: from when to when days count; a day must lie within it whole.
            tally: where every line is booked.
            covered: metric → what earlier imports hold.
        """
        self._source = source
        self._site = site
        self._wanted = metrics or tuple(Metric)
        self._period = period
        self._tally = tally
        self._single = metrics[0] if metrics else site.settings.metric
        self._columns: Mapping[Metric, int] = {self._single: 1}
        self._covered = covered
        self._seen: set[date] = set()

    def days(self) -> Iterator[DayAmounts]:
        """Yield the days, in the order of the file.

        Raises:
            SourceError: the file cannot be read to its end.
        """
        delimiter = ""
        for number, (raw, _) in enumerate(self._source.lines(), start=1):
            self._tally.read += 1
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip()
            if not text:
                self._tally.refused[Reason.NO_REQUEST] += 1
                continue
            delimiter = delimiter or next((d for d in "\t;," if d in text), ",")
            fields = [field.strip() for field in next(csv.reader([text], delimiter=delimiter))]
            try:
                if fields[0].lower() in _DATE_NAMES:
                    self._columns = _columns(fields, self._wanted, self._single)
                    self._tally.refused[Reason.NO_REQUEST] += 1
                    continue
                amounts = self._day(fields)
            except RowError as error:
                self._tally.refuse_malformed(self._source.name, number, str(error))
                continue
            self._seen.add(amounts.day)
            reason = self._why_not(amounts)
            if reason is not None:
                self._tally.refused[reason] += 1
                continue
            self._tally.counted += 1
            yield amounts

    def _day(self, fields: Sequence[str]) -> DayAmounts:
        day = _date(fields[0])
        start = day_start(day, self._site.zone)
        end = day_start(day + timedelta(days=1), self._site.zone)
        if start >= end:
            raise RowError(f"{day} is a day without an hour in {self._site.zone.key}")
        if day in self._seen:
            raise RowError(f"{day} stands in the file twice")
        spans = {}
        for metric, column in self._columns.items():
            if column >= len(fields):
                raise RowError(f"no {metric} in column {column + 1}")
            n = _number(fields[column])
            if not self._covered[metric].holds(start):
                spans[metric] = (Span(n, start, end),)
        return DayAmounts(day, start, end, spans, {}, estimated=True)

    def _why_not(self, amounts: DayAmounts) -> Reason | None:
        if amounts.start < self._period.since:
            return self._period.why_since
        if amounts.end > self._period.until:
            return self._period.why_until
        return None if amounts.spans else Reason.ALREADY_IMPORTED


def _columns(
    heading: Sequence[str], wanted: Sequence[Metric], single: Metric
) -> Mapping[Metric, int]:
    """Return where each wanted metric stands."""
    found = {
        _NAMES[name.lower()]: index for index, name in enumerate(heading) if name.lower() in _NAMES
    }
    if not found and len(heading) == len(("date", "n")):
        return {single: 1}
    columns = {metric: found[metric] for metric in wanted if metric in found}
    if not columns:
        raise RowError(f"the heading names none of {', '.join(wanted)}")
    return columns


def _date(text: str) -> date:
    """Read `2026-11-24` or `20261124`."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RowError(f"{text[:40]!r} is no date; write it as 2026-11-24") from None


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise RowError(f"{text[:40]!r} is no whole number")
    n = int(text)
    if n > AMOUNT_MAX:
        raise RowError(f"{n} is above {AMOUNT_MAX}")
    return n
