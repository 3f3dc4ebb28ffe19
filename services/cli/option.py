"""Options that several commands share, and how they find their configuration."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from services.runtime.settings import Configuration, load_configuration
from services.runtime.site import Site
from visits.counters import MINUTE_MS
from visits.errors import DeltaError, SettingsError

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration; default: visit-counter.toml of this folder."
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
SiteId = Annotated[str, typer.Option("--site", "-s", help="The site's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the public ledger.")]


def configuration(path: Path | None, overrides: dict[str, Any] | None = None) -> Configuration:
    """Read the configuration of a command.

    Raises:
        SettingsError: with key, value and mend.
    """
    return load_configuration(path, year=datetime.now(UTC).year, overrides=overrides)


def site_of(found: Configuration, site: str) -> Site:
    """Return a declared site.

    Raises:
        SettingsError: naming the sites there are, or what is wrong with its file.
    """
    if site not in found.sites:
        for fault in found.declared.faults:
            if fault.site == site:
                raise SettingsError(fault.reason)
        known = ", ".join(sorted(found.sites)) or "none yet"
        msg = f"no site {site!r} is declared (declared: {known}); `visit-counter site add {site}` declares it"
        raise SettingsError(msg)
    return found.sites[site]


def moment_of(text: str, site: Site) -> int:
    """Read an ISO 8601 moment; without an offset it is the site's local time.

    Raises:
        DeltaError: when it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is no ISO 8601 time, e.g. 2026-11-24T08:00"
        raise DeltaError(msg) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=site.zone)
    return round(moment.timestamp() * 1000 // MINUTE_MS) * MINUTE_MS
