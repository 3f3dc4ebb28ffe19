"""The command `import-log`: access logs and day totals into history."""

from __future__ import annotations

import asyncio
import getpass
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from services.cli.backend import COUNTED_WITHIN_SECONDS, count_up_to, opened
from services.cli.option import Config, SiteId, configuration, moment_of, site_of
from services.importer.piece import SOURCE_PATTERN, Import
from services.importer.run import Report, Wish, read_books, run_import
from services.importer.source import STDIN, Format, Source, SourceError, refuse_same
from services.importer.tally import Reason
from services.importer.writing import Writer, wait_counted
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.runtime.opening import new_id
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.codec import encode_record
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.errors import InputError
from visits.partition import partition_of
from visits.record import VERSION, Probe
from visits.window import iso

FILES_NAMED_MAX = 3
"""How many files the ledger names; of more it says how many."""

console = Console()
errors = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-log")(import_log)


def import_log(
    files: Annotated[
        list[str], typer.Argument(help="Access logs, gzip or not; - is standard input.")
    ],
    site: SiteId,
    config: Config = None,
    format_: Annotated[
        Format, typer.Option("--format", help="What the files are; auto: by their first line.")
    ] = Format.AUTO,
    metrics: Annotated[
        list[Metric] | None,
        typer.Option("--metric", help="Import only this counter; may be repeated. Default: all."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only lines from then on (ISO 8601). Default: after an opening balance."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Only lines before then. Default: the day live counting began, or now."),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            help="A name for another server whose logs add to those of the same days (a-z, 0-9)."
        ),
    ] = "",
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap", help="Also the time of an opening balance and of live counting."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would add.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Import access logs (Apache, nginx, IIS) or CSV of day totals into a site's history.

    Give all files of the same time in one go, of several servers too: they are merged by time. Lines count by the rules of
    live counting: GET, answered 200 or 304, a page and no image or script, no bot; visits and visitors by address and browser.

    The same command again counts nothing twice: time that was imported before is passed over. So a file that has grown, or
    the next rotated file, adds only what is new. After Ctrl-C, a crash or a kill the same command goes on.

    CSV: lines of `date,n`, or a heading that names views, visits, visitors; one day a line. docs/import.md says more.
    """
    found = configuration(config)
    declared = site_of(found, site)
    if source and not SOURCE_PATTERN.fullmatch(source):
        raise SourceError(f"--source {source!r}: a source's name has 1 to 20 of a-z and 0-9")
    _refuse_twice(files)
    wish = Wish(
        tuple(dict.fromkeys(metrics or ())),
        None if since is None else moment_of(since, declared),
        None if until is None else moment_of(until, declared),
        allow_overlap,
    )
    what = Import(site, source, _named(files), getpass.getuser(), now_ms())
    with _sources(files, format_) as sources:
        asyncio.run(_run(found, declared, sources, wish, what, dry_run=dry_run, as_json=as_json))


async def _run(
    found: Configuration,
    site: Site,
    sources: Sequence[Source],
    wish: Wish,
    what: Import,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import, wait until it counts, and say what came of it."""
    async with opened(found) as (backends, is_alone):
        if not dry_run:
            await _catch_up(found, site, backends, is_alone=is_alone)
        books = await read_books(backends.store, site, backends.log.partitions, wish.metrics)
        writer = None if dry_run else Writer(backends.log, site.id)
        began = time.monotonic()
        with _progress(sources) as on_progress:
            try:
                report = await run_import(
                    found, site, sources, wish, what, books, writer, on_progress
                )
            except BaseException:
                if writer is not None:
                    errors.print(
                        f"stopped: {len(writer.written)} deltas are written; the same command goes on"
                    )
                raise
        seconds = time.monotonic() - began
        _refuse_nothing(report)
        uncounted = 0
        if writer is not None and writer.written:
            if is_alone:
                await count_up_to(found, backends, None)

            async def read() -> Sequence[LedgerEntry]:
                known = await read_books(
                    backends.store, site, backends.log.partitions, wish.metrics
                )
                return known.entries

            uncounted = await wait_counted(writer.written, read)
    written = 0 if writer is None else len(writer.written)
    if as_json:
        print(msgspec.json.encode(_as_json(site, report, written, uncounted, seconds)).decode())
    else:
        _print(site, report, written, uncounted, seconds, dry_run=dry_run)


async def _catch_up(
    found: Configuration, site: Site, backends: Backends, *, is_alone: bool
) -> None:
    """See to it that the ledger shows what earlier imports wrote; say so where that cannot be had."""
    if is_alone:
        await count_up_to(found, backends, None)
        return
    partition, now = partition_of(site.id, backends.log.partitions), now_ms()
    probe = Probe(v=VERSION, site=site.id, id=new_id(), at=now, received=now)
    position = await backends.log.append(partition, [(site.id.encode(), encode_record(probe))])
    until = time.monotonic() + COUNTED_WITHIN_SECONDS
    while position is not None and time.monotonic() < until:
        head = await backends.store.head(partition)
        if head is not None and head.fence.position > position:
            return
        await asyncio.sleep(0.05)
    errors.print(
        "the aggregator is behind or not running: what an earlier import wrote may not show yet; it counts once all the same"
    )


def _refuse_twice(files: Sequence[str]) -> None:
    """Refuse a file that is named twice.

    Raises:
        SourceError: naming it.
    """
    seen: set[str] = set()
    for name in files:
        path = name if name == STDIN else os.path.realpath(name)
        if path in seen:
            raise SourceError(f"{name} is named twice")
        seen.add(path)


def _named(files: Sequence[str]) -> str:
    """Return how the ledger names the files: without their folders."""
    names = ["standard input" if name == STDIN else Path(name).name for name in files]
    more = len(names) - FILES_NAMED_MAX
    return ", ".join(names[:FILES_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def _sources(files: Sequence[str], format_: Format) -> Iterator[Sequence[Source]]:
    """Open all files; close them at the end."""
    sources: list[Source] = []
    try:
        for name in files:
            sources.append(Source(name, format_))  # noqa: PERF401  # those open are closed if one cannot be
        refuse_same(sources)
        yield sources
    finally:
        for source in sources:
            source.close()


@contextmanager
def _progress(sources: Sequence[Source]) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; yield what moves it, and ends the reading after Ctrl-C."""
    sizes = [source.size for source in sources if source.size is not None]
    total = sum(sizes) if len(sizes) == len(sources) else None
    running = asyncio.current_task()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("reading", total=total)

        def on_progress() -> None:
            if running is not None and running.cancelling():
                raise asyncio.CancelledError
            bar.update(task, completed=sum(source.position() for source in sources))

        yield on_progress


def _refuse_nothing(report: Report) -> None:
    """Refuse files of which not one line can be read.

    Raises:
        InputError: with the first line's reason.
    """
    tally = report.tally
    malformed = tally.refused[Reason.MALFORMED]
    if malformed and malformed + tally.refused[Reason.NO_REQUEST] == tally.read:
        first = tally.samples[0]
        raise InputError(
            f"none of the {tally.read} lines can be read; {first.file}, line {first.line}: {first.reason}"
        )


def _as_json(
    site: Site, report: Report, written: int, uncounted: int, seconds: float
) -> dict[str, object]:
    tally = report.tally
    return {
        "site": site.id,
        "read": tally.read,
        "counted": tally.counted,
        "refused": {reason.value: n for reason, n in sorted(tally.refused.items()) if n},
        "totals": {metric.value: report.total(metric) for metric in Metric},
        "days": report.days,
        "since": iso(report.period.since, site.zone),
        "until": iso(report.period.until, site.zone),
        "deltas_written": written,
        "deltas_uncounted": uncounted,
        "malformed": tally.samples,
        "seconds": round(seconds, 3),
    }


def _print(
    site: Site, report: Report, written: int, uncounted: int, seconds: float, *, dry_run: bool
) -> None:
    tally = report.tally
    _say(f"read {tally.read} = counted {tally.counted} + refused {tally.refused.total()}")
    table = Table("refused", "lines", box=SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for reason, n in tally.refused.most_common():
        table.add_row(reason.value, f"{n}")
    if table.rows:
        console.print(table)
    for sample in tally.samples:
        _say(f"{sample.file}, line {sample.line}: {sample.reason}")
    for note in _notes(site, report):
        _say(note)
    if report.days:
        sums = ", ".join(f"{report.total(metric)} {metric}" for metric in Metric)
        _say(f"{len(report.days)} days from {report.days[0].day} to {report.days[-1].day}: {sums}")
    if dry_run:
        _say("dry run: nothing was written")
    elif not written:
        _say("nothing was added")
    elif uncounted:
        _say(
            f"{written} deltas written; {uncounted} of them count as soon as the aggregator has read them"
        )
    else:
        _say(f"{written} deltas written and counted")
    _say(f"{tally.read / seconds:,.0f} lines a second")


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _notes(site: Site, report: Report) -> Iterator[str]:
    """Say what a webmaster should know about what did not count."""
    refused, bounds = report.tally.refused, report.bounds
    if refused[Reason.OPENING_BALANCE] and bounds.opening_end is not None:
        yield (
            f"lines before {iso(bounds.opening_end, site.zone)} are in the opening balance already: "
            "--metric leaves that counter out, --allow-overlap adds them all the same"
        )
    if refused[Reason.LIVE]:
        yield (
            f"live counting began on {bounds.live_day}: that day's lines before the widget stood on the pages need "
            f"--until {bounds.live_day}T…, the time it began"
        )
    if refused[Reason.LATE]:
        yield (
            "late: these lines stood more than a day behind later ones; give rotated files as files of one command instead of "
            "one stream, and they are merged by time"
        )
    if refused[Reason.ALREADY_IMPORTED]:
        yield (
            "already imported: an earlier import has read that time; another server's logs need --source NAME"
        )
