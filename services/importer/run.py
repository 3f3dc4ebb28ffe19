"""One run of an import: what the site's books hold already, the reading, the writing, and what it all came to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import msgspec
from msgspec import Struct

from services.backends.port import CounterStore
from services.importer.history import Bounds, Covered, bounds_of, period_of
from services.importer.judge import Period
from services.importer.piece import DayAmounts, Import, deltas_of, imported_before
from services.importer.reading import Reading
from services.importer.source import Source
from services.importer.tally import Tally
from services.importer.writing import Writer
from services.ingest.client_address import ClientFinder
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.partition import partition_of


class Wish(Struct, frozen=True):
    """What was asked for.

    Attributes:
        metrics: empty for all.
        since: from when lines count (Unix milliseconds); `None`: what is not counted yet.
        until: until when, exclusive.
        overlap: import also what an opening balance or live counting holds.
    """

    metrics: Sequence[Metric]
    since: int | None
    until: int | None
    overlap: bool


class DayReport(Struct, frozen=True):
    """What one day of a run adds."""

    day: date
    views: int
    visits: int
    visitors: int


class Report(Struct):
    """What a run came to.

    Attributes:
        tally: read = counted + refused.
        days: what each day adds, by date.
        bounds: what the site's books said.
        period: from when to when lines counted.
    """

    tally: Tally
    days: list[DayReport]
    bounds: Bounds
    period: Period

    def total(self, metric: Metric) -> int:
        """Return what a metric grows by."""
        return sum(getattr(day, metric) for day in self.days)


class Books(Struct, frozen=True):
    """What a site has already.

    Attributes:
        entries: its ledger.
        bounds: what is counted by an opening balance and by live counting.
    """

    entries: Sequence[LedgerEntry]
    bounds: Bounds


async def read_books(
    store: CounterStore, site: Site, partitions: int, metrics: Sequence[Metric]
) -> Books:
    """Return what a site has already of some metrics; empty: of all."""
    partition = partition_of(site.id, partitions)
    entries = [
        msgspec.json.decode(raw, type=LedgerEntry)
        for raw in await store.read_ledger(partition, site.id)
    ]
    names = await store.read_books(partition, site.id)
    return Books(entries, bounds_of(entries, names, metrics or tuple(Metric)))


async def run_import(
    found: Configuration,
    site: Site,
    sources: Sequence[Source],
    wish: Wish,
    what: Import,
    books: Books,
    writer: Writer | None,
    on_progress: Callable[[], None],
) -> Report:
    """Read all files and write what they add.

    Args:
        found: the configuration.
        site: where to.
        sources: the files, open.
        wish: what was asked for.
        what: what the run's deltas have in common.
        books: what the site has already.
        writer: writes; `None`: nothing is written.
        on_progress: called every few thousand lines; what it raises ends the run.

    Raises:
        DeltaError: what was asked for overlaps with what is counted.
        SourceError: a file cannot be read to its end; whole days before are written.
        LogUnavailableError: the log did not take what was read; the same command goes on.
    """
    period = period_of(site, books.bounds, what.at, wish.since, wish.until, overlap=wish.overlap)
    covered = {
        metric: Covered(imported_before(books.entries, what.source, metric))
        for metric in wish.metrics or Metric
    }
    reading = Reading(
        site,
        sources,
        wish.metrics,
        period,
        covered,
        found.settings.parameters,
        ClientFinder(found.settings.server.proxy_networks),
        on_progress,
    )
    report = Report(reading.tally, [], books.bounds, period)
    for amounts in reading.days():
        report.days.append(DayReport(amounts.day, *(amounts.total(metric) for metric in Metric)))
        if writer is not None:
            for group in deltas_of(amounts, _parts(amounts, covered), what):
                await writer.add(group)
        # Lets Ctrl-C through, and the clients of log and store breathe.
        await asyncio.sleep(0)
    if writer is not None:
        await writer.flush()
    report.days.sort(key=lambda day: day.day)
    return report


def _parts(amounts: DayAmounts, covered: Mapping[Metric, Covered]) -> Mapping[Metric, int]:
    return {metric: covered[metric].next_part(amounts.day) for metric in amounts.spans}
