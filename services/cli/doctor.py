"""The command `doctor`: one probe all the way, and the hop at which it is lost."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.allinone import DEMO_SETTINGS, DEMO_SITE
from services.cli.option import Config, SiteId, configuration, site_of
from services.doctor.examination import examine
from services.doctor.finding import Report, State
from services.runtime.logs import configure_logging
from services.runtime.settings import CONFIG_NAME, Configuration
from visits.errors import SettingsError

STYLES = {State.OK: "green", State.BROKEN: "bold red", State.UNKNOWN: "dim"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    site: SiteId,
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url",
            help="The address that pages use; further ones (ingest, aggregator, api) may follow.",
        ),
    ] = None,
    config: Config = None,
    token: Annotated[
        str,
        typer.Option(
            envvar="VISIT_COUNTER_DOCTOR_TOKEN",
            help="A token of the site, where the store cannot be reached from here.",
        ),
    ] = "",
    wait: Annotated[
        float, typer.Option(min=0.1, max=600, help="Seconds the probe may take to be counted.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Send a probe the whole way of a view, and name the hop that loses the address, the path or the event.

    A probe counts nothing. Without --url it goes into the log from here, and gateway, ingest and api are not looked at. Exit
    status: 0 every hop that was looked at works, 1 one is broken.

    Example: visit-counter doctor --site thanhxuan --url https://counter.example
    """
    # What is away is told once, in the report.
    configure_logging("doctor", level=logging.CRITICAL, stream=sys.stderr)
    urls = tuple(url or ())
    found = _configuration(config, site, urls, token)
    report = asyncio.run(examine(site, urls, token, found, wait))
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(1)


def _configuration(
    config: Path | None, site: str, urls: tuple[str, ...], token: str
) -> Configuration | None:
    """Return the services' configuration; `None` where there is none here, and URL and token do without.

    Raises:
        SettingsError: it cannot be read, or does not declare the site.
    """
    is_bare = config is None and not Path(CONFIG_NAME).is_file()
    found = configuration(config, dict(DEMO_SETTINGS) if is_bare and site == DEMO_SITE else None)
    if is_bare and site not in found.sites:
        if urls and token:
            return None
        msg = (
            f"there is no {CONFIG_NAME} in this folder: name the services' configuration with --config, "
            "or give --url and --token"
        )
        raise SettingsError(msg)
    site_of(found, site)
    return found


def _print(report: Report) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("hop")
    table.add_column("")
    table.add_column("ms", justify="right")
    table.add_column("", overflow="fold")
    for finding in report.hops:
        took = "" if finding.seconds is None else f"{finding.seconds * 1000:.1f}"
        state = f"[{STYLES[finding.state]}]{finding.state}[/]"
        table.add_row(finding.hop.value, state, took, Text(finding.what))
    console.print(table)
    for finding in report.hops:
        if finding.state is State.BROKEN:
            console.print(Text(f"\n{finding.hop}: {finding.what}", style="bold"))
            console.print(Text(f"  mend: {finding.mend}"))
    for note in report.notes:
        console.print(Text(f"note: {note}"))
