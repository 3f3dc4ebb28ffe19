"""The commands that correct numbers, each a delta in the log: `open-balance`, `adjust`, `forget-pages`, `ledger`."""

from __future__ import annotations

import asyncio
import csv
import getpass
import time
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from services.cli.backend import COUNTED_WITHIN_SECONDS, count_up_to, opened, read_entries
from services.cli.option import Config, Reason, SiteId, configuration, moment_of, site_of
from services.runtime.backend import Backends, make_backends
from services.runtime.clock import now_ms
from services.runtime.opening import (
    OPENING_WHY,
    Opening,
    new_id,
    opening_delta,
    panel_with,
    read_panel,
)
from services.runtime.panel import panel_lines
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.codec import encode_record
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.errors import DeltaError, PageError
from visits.partition import partition_of
from visits.record import VERSION, Delta, Span
from visits.window import Windows, iso

console = Console()


def _shown(window: str) -> Any:  # typer's option is of no public type
    return typer.Option(
        min=0, help=f"What the old counter showed for {window}; leave out what it did not show."
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("open-balance")(open_balance)
    app.command()(adjust)
    app.command("forget-pages")(forget_pages)
    app.command()(ledger)


def open_balance(
    site: SiteId,
    total: Annotated[int, typer.Option(min=0, help="What the old counter's total showed.")],
    evidence: Annotated[
        str, typer.Option(help="What proves it: a screenshot, a report, a letter.")
    ],
    config: Config = None,
    year: Annotated[int | None, _shown("the year")] = None,
    month: Annotated[int | None, _shown("the month")] = None,
    week: Annotated[int | None, _shown("the week")] = None,
    today: Annotated[int | None, _shown("today")] = None,
    metric: Annotated[Metric, typer.Option(help="Which counter.")] = Metric.VISITS,
    windows: Annotated[
        Windows | None, typer.Option(help="How the old counter cut them; default: as the site.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="When it showed that (ISO 8601); default: now.")
    ] = None,
    pages: Annotated[Path | None, typer.Option(help="CSV of page,views.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how it would read.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Add to an opening balance that is there already.")
    ] = False,
) -> None:
    """Carry the numbers of an old counter over; prints the five lines as they will read.

    A site has one opening balance a metric: the same command once more changes nothing, another one is refused without --again.

    Example: visit-counter open-balance --site thanhxuan --total 155351 --year 155277 --month 87424 --week 21559
    --evidence 'screenshot of 2026-11-24' --dry-run
    """
    found = configuration(config)
    declared = site_of(found, site)
    known = {
        name: n
        for name, n in (("today", today), ("week", week), ("month", month), ("year", year))
        if n is not None
    }
    opening = Opening(
        total,
        known,
        metric,
        windows or declared.settings.windows,
        {} if pages is None else _read_pages(pages, declared),
    )
    now = now_ms()
    moment = now if as_of is None else moment_of(as_of, declared)
    delta = opening_delta(
        declared,
        opening,
        moment,
        found.settings.store.bucket_minutes,
        now=now,
        evidence=evidence,
        who=getpass.getuser(),
        delta_id=None if again else _opening_id(opening, evidence, as_of),
    )
    asyncio.run(
        _correct(found, declared, delta, opening.windows, dry_run=dry_run, is_first=not again)
    )


def adjust(
    site: SiteId,
    reason: Reason,
    amount: Annotated[int, typer.Option(help="How many to add; negative to take away.")] = 0,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Beginning (ISO 8601), a bucket's; default: before every bucket."
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="End, exclusive (ISO 8601), a bucket's.")
    ] = None,
    page: Annotated[
        str | None, typer.Option(help="A page whose views change by --page-amount.")
    ] = None,
    page_amount: Annotated[int, typer.Option(help="How many views to add to --page.")] = 0,
    metric: Annotated[Metric, typer.Option(help="Which counter.")] = Metric.VISITS,
    evidence: Annotated[str, typer.Option(help="What proves it.")] = "",
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how it would read.")] = False,
) -> None:
    """Correct a number; the correction and its reason stand in the public ledger."""
    found = configuration(config)
    declared = site_of(found, site)
    if (start is None) != (end is None):
        msg = "--from and --to go together"
        raise DeltaError(msg)
    span = (
        Span(amount)
        if start is None or end is None
        else Span(amount, moment_of(start, declared), moment_of(end, declared))
    )
    now = now_ms()
    delta = Delta(
        v=VERSION,
        site=site,
        id=new_id(),
        at=now,
        received=now,
        metric=metric,
        spans=(span,) if amount else (),
        pages={} if page is None else {declared.page(page): page_amount},
        who=getpass.getuser(),
        why=reason,
        evidence=evidence,
    )
    if not delta.spans and not delta.pages:
        msg = "nothing to correct: say --amount, or --page with --page-amount"
        raise DeltaError(msg)
    asyncio.run(_correct(found, declared, delta, declared.settings.windows, dry_run=dry_run))


def forget_pages(
    pattern: Annotated[
        str, typer.Argument(help="Pages to fold into (other), e.g. '/wp-admin/**'.")
    ],
    site: SiteId,
    reason: Reason,
    config: Config = None,
) -> None:
    """Fold pages that are none into `(other)`; makes room for true ones. No number of the site changes."""
    found = configuration(config)
    declared = site_of(found, site)
    now = now_ms()
    delta = Delta(
        v=VERSION, site=site, id=new_id(), at=now, received=now, metric=Metric.VIEWS,
        forget=declared.pattern(pattern), who=getpass.getuser(), why=reason,
    )  # fmt: skip
    asyncio.run(_correct(found, declared, delta, declared.settings.windows, dry_run=False))


def ledger(
    site: SiteId, config: Config = None, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """List every opening balance and correction of a site."""
    found = configuration(config)
    declared = site_of(found, site)

    async def read() -> list[LedgerEntry]:
        backends = make_backends(found, exclusive=False)
        await backends.open()
        try:
            return await read_entries(backends, site)
        finally:
            await backends.close()

    entries = asyncio.run(read())
    if as_json:
        print(msgspec.json.encode(entries).decode())  # to be piped
        return
    table = Table()
    for heading in ("when", "amount", "metric", "pages", "why", "evidence", "who", "outcome", "at"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        pages = f"{entry.pages} ({entry.pages_n:+})" if entry.pages else ""
        if entry.forget is not None:
            pages = f"{entry.forget}: {entry.forgotten} into (other)"
        outcome = entry.outcome if not entry.reason else f"{entry.outcome}: {entry.reason}"
        table.add_row(
            iso(entry.at, declared.zone)[:16].replace("T", " "), f"{entry.n:+}", entry.metric, pages, entry.why,
            entry.evidence, entry.who, outcome, str(entry.position),
        )  # fmt: skip
    console.print(table)


def _opening_id(opening: Opening, evidence: str, as_of: str | None) -> str:
    """Return an id that the same command has again, so that repeating it counts nothing twice."""
    said = msgspec.json.encode([opening, evidence, as_of], order="deterministic")
    return f"opening-{blake2b(said, digest_size=12).hexdigest()}"


async def _correct(
    found: Configuration,
    site: Site,
    delta: Delta,
    windows: Windows,
    *,
    dry_run: bool,
    is_first: bool = False,
) -> None:
    """Say how a site will read, append the delta, and wait until it is counted.

    Args:
        found: the configuration.
        site: where to.
        delta: what changes.
        windows: how the printed windows are cut.
        dry_run: only say it.
        is_first: there must be no opening balance yet.

    Raises:
        DeltaError: it must not be, or the fold refused it; nothing was changed.
    """
    async with opened(found) as (backends, is_alone):
        now = now_ms()
        partitions = backends.log.partitions
        bucket_minutes = found.settings.store.bucket_minutes
        if is_alone and not dry_run:
            await count_up_to(found, backends, None)
        partition = partition_of(site.id, partitions)
        if is_first and await _is_carried_over(backends, site, delta):
            console.print(
                f"this opening balance is counted already (id {delta.id}); nothing was changed"
            )
            return
        panel = await read_panel(
            backends.store, site, partitions, bucket_minutes, now, delta.metric, windows
        )
        numbers = panel_with(panel, delta, site, bucket_minutes, now, delta.metric, windows)
        console.print(f"as it will read ({delta.metric}, {windows}):")
        for told, n in panel_lines(numbers, delta.metric, site.settings.lang):
            console.print(f"  {told}: {n}", highlight=False)
        if dry_run:
            console.print("dry run: nothing was written")
            return
        position = await backends.log.append(partition, [(site.id.encode(), encode_record(delta))])
        if is_alone:
            await count_up_to(found, backends, position)
        await _report(backends, partition, site, delta, position)


async def _is_carried_over(backends: Backends, site: Site, delta: Delta) -> bool:
    """Claim that this very opening balance is counted.

    Raises:
        DeltaError: another one of the same metric is.
    """
    openings = [
        entry
        for entry in await read_entries(backends, site.id)
        if entry.why == OPENING_WHY and entry.outcome == "applied" and entry.metric == delta.metric
    ]
    if any(entry.id == delta.id for entry in openings):
        return True
    if openings:
        first = openings[0]
        msg = (
            f"site {site.id!r} has an opening balance of {first.n} {first.metric} since {iso(first.at, site.zone)}: "
            "correct it with `visit-counter adjust`, or say --again to add this one to it"
        )
        raise DeltaError(msg)
    return False


async def _report(
    backends: Backends, partition: int, site: Site, delta: Delta, position: int | None
) -> None:
    """Wait until the ledger has the delta, and say what became of it."""
    until = time.monotonic() + COUNTED_WITHIN_SECONDS
    while time.monotonic() < until:
        for entry in await read_entries(backends, site.id):
            if entry.id != delta.id:
                continue
            if entry.outcome == "refused":
                msg = f"refused, nothing was changed: {entry.reason}"
                raise DeltaError(msg)
            console.print(f"counted at {partition}:{entry.position}, id {delta.id}")
            return
        await asyncio.sleep(0.05)
    console.print(
        f"written at {partition}:{position}, id {delta.id}; it counts as soon as the aggregator has read it"
    )


def _read_pages(path: Path, site: Site) -> dict[str, int]:
    """Read a CSV of page,views; a first line without a number is a heading.

    Raises:
        DeltaError: naming the line.
    """
    pages: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if not row or (number == 1 and not row[-1].strip().isdigit()):
                continue
            try:
                address, views = row
                page = site.page(address.strip())
                pages[page] = pages.get(page, 0) + int(views)
            except (ValueError, PageError) as error:
                msg = f"{path}, line {number}: {','.join(row)!r} is not page,views ({error})"
                raise DeltaError(msg) from error
    return pages
