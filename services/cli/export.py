"""The command `export`: all numbers of a site, of one moment, as CSV or JSON."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
import typer

from services.api.table import BYTE_ORDER_MARK, written
from services.backends.generation import Table
from services.backends.port import CounterStore
from services.cli.beside import check_embedded_file, run_to_end, still
from services.cli.option import Config, SiteId, configuration, site_of
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.counters import DAY_MS, METRIC_LETTER, MINUTE_MS
from visits.delta import LedgerEntry
from visits.partition import partition_of
from visits.state import Head
from visits.window import iso

HEADING = ("kind", "name", "from", "to", "n")
_METRICS = {letter: metric.value for metric, letter in METRIC_LETTER.items()}

Row = tuple[str, str, str, str, int]
"""Kind, name, from, to (exclusive; empty for all time) and the number."""


class Form(StrEnum):
    """What it is written as."""

    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    site: SiteId,
    config: Config = None,
    form: Annotated[
        Form, typer.Option("--format", help="CSV, or JSON with one row a line.")
    ] = Form.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; default: standard output.")
    ] = None,
) -> None:
    """Write all numbers of a site: totals, every bucket and UTC day, pages in all and by day, books and ledger.

    All are of one moment of the log. Spans are half-open; moments are ISO 8601, days local dates. Nothing is counted by it.
    """
    found = configuration(config)
    declared = site_of(found, site)
    check_embedded_file(found)
    with ExitStack() as stack:
        stream = (
            sys.stdout
            if output is None
            else stack.enter_context(output.open("w", encoding="utf-8", newline=""))
        )
        run_to_end(lambda: _export(found, declared, form, stream))


async def _export(found: Configuration, site: Site, form: Form, stream: TextIO) -> None:
    async with still(found, lambda partitions: partition_of(site.id, partitions)) as held:
        backends, partition, head = held
        rows = _rows(backends.store, partition, head, site)
        if form is Form.CSV:
            stream.write(BYTE_ORDER_MARK)
            writer = csv.writer(stream, lineterminator="\r\n")
            writer.writerow(HEADING)
            async for row in rows:
                writer.writerow([written(cell) for cell in row])
            return
        about = {
            "site": site.id,
            "log": head.fence.log_id,
            "partition": partition,
            "position": head.fence.position,
            "as_of": iso(head.as_of, site.zone),
        }
        stream.write(f'{{"about":{_json(about)},"rows":[')
        separator = "\n"
        async for row in rows:
            stream.write(separator + _json(dict(zip(HEADING, row, strict=True))))
            separator = ",\n"
        stream.write("\n]}\n")


async def _rows(store: CounterStore, partition: int, head: Head, site: Site) -> AsyncIterator[Row]:
    """Yield every number of a site."""
    generations = store.generations()
    for table in (Table.COUNTERS, Table.PAGES, Table.PAGE_DAYS, Table.BOOKS, Table.LEDGER):
        async for some in generations.scan(partition, head.generation, table, site.id):
            for name, value in some.items():
                yield _row(table, name, value, head, site)


def _row(table: Table, name: object, value: object, head: Head, site: Site) -> Row:
    if table is Table.LEDGER:
        assert isinstance(value, bytes)
        entry = msgspec.json.decode(value, type=LedgerEntry)
        start, end = ("" if at is None else iso(at, site.zone) for at in (entry.start, entry.end))
        return (f"ledger {entry.outcome}", f"{entry.metric} {entry.id}", start, end, entry.n)
    assert isinstance(value, int)
    if table is Table.PAGE_DAYS:
        assert isinstance(name, tuple)
        day, page = name
        first = date(1970, 1, 1) + timedelta(days=day)
        return (
            "page views",
            page,
            first.isoformat(),
            (first + timedelta(days=1)).isoformat(),
            value,
        )
    assert isinstance(name, str)
    if table is Table.PAGES:
        return ("page views", name, "", "", value)
    if table is Table.BOOKS:
        day, found, what = name.rpartition(":")
        after = (date.fromisoformat(day) + timedelta(days=1)).isoformat() if found else ""
        return ("requests", what, day, after, value)
    return _counter(name, value, head)


def _counter(name: str, value: int, head: Head) -> Row:
    metric, kind = _METRICS[name[0]], name[1:2]
    if not kind:
        return ("total", metric, "", "", value)
    size = DAY_MS if kind == "d" else head.parameters.bucket_minutes * MINUTE_MS
    start = int(name[2:]) * size
    return ("UTC day" if kind == "d" else "bucket", metric, _utc(start), _utc(start + size), value)


def _utc(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
