"""The commands that write and check the configuration: `init`, `check`, `site`, `token`."""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tomlkit
import typer
from rich.console import Console
from rich.table import Table

from services.cli.option import Config, SiteId, configuration, site_of
from services.runtime.clock import now_ms
from services.runtime.settings import CONFIG_NAME, environment_keys
from services.runtime.toml_file import write_text
from visits.errors import SettingsError
from visits.window import iso

BASE_URL_HINT = "https://counter.example"
"""Stands for the address under which the operator's readers reach this server."""

_TEMPLATE = """\
# visit-counter: https://counter.example is where browsers reach this server.
# Every value may also come from the environment, e.g. VISIT_COUNTER_LOG__URL.

[log]
url = "sqlite:data/visit-counter.db"       # or "kafka://host:9092,host2:9092/page-views"

[store]
url = "sqlite:data/visit-counter.db"       # or "redis://host:6379/0", "rediss://…", "redis-cluster://…"

[server]
trusted_proxies = []                       # CIDRs of your proxies, e.g. ["10.0.0.0/8"]; else everybody has the proxy's address
rate_limit_per_second = 50                 # per site and address, 0 = off

[defaults]
lang = "vi"
timezone = "Asia/Ho_Chi_Minh"
"""

LIVE = "running services take it within two seconds"

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.command()(check)
    site = typer.Typer(help="Declare sites and look at them.", no_args_is_help=True)
    site.command("add")(site_add)
    site.command("list")(site_list)
    site.command("show")(site_show)
    site.command("close")(site_close)
    app.add_typer(site, name="site")
    token = typer.Typer(
        help="Bearer tokens of a site, for batches and corrections over HTTP.", no_args_is_help=True
    )
    token.command("new")(token_new)
    token.command("revoke")(token_revoke)
    app.add_typer(token, name="token")


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(CONFIG_NAME),
) -> None:
    """Write a configuration to start from; never overwrites one."""
    if path.exists():
        msg = f"{path} is there already; change it with an editor or with `visit-counter site add`"
        raise SettingsError(msg)
    path.write_text(_TEMPLATE, encoding="utf-8")
    console.print(
        f"wrote {path}. Next: visit-counter site add my-portal --name 'My portal' --origin https://portal.example"
    )


def check(config: Config = None) -> None:
    """Read the configuration and say what it means; exit status 1 with key, value and mend if it cannot be used."""
    found = configuration(config)
    settings = found.settings
    console.print(f"log    {settings.log.url}")
    console.print(
        f"store  {settings.store.url}, buckets of {settings.store.bucket_minutes} minutes"
    )
    for key in environment_keys():
        console.print(f"from the environment: {key}")
    if not settings.server.trusted_proxies:
        console.print("no trusted proxies: right only if browsers reach this server directly")
    _print_sites(config)
    if found.declared.faults:
        raise SettingsError("\n".join(fault.reason for fault in found.declared.faults))


def site_add(
    site: Annotated[str, typer.Argument(help="Its id: a-z, 0-9 and '-'.")],
    config: Config = None,
    name: Annotated[str, typer.Option(help="The portal's name.")] = "",
    origin: Annotated[
        list[str] | None, typer.Option(help="Where the widget may run; repeatable; none: anywhere.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="IANA zone its days are cut in.")] = "",
    lang: Annotated[str, typer.Option(help="vi or en.")] = "",
    windows: Annotated[str, typer.Option(help="rolling or calendar.")] = "",
    metric: Annotated[str, typer.Option(help="visits, views or visitors.")] = "",
    test: Annotated[bool, typer.Option("--test", help="Load tests may count into it.")] = False,
) -> None:
    """Declare a site in the configuration and print the snippet to paste."""
    values: dict[str, Any] = {
        "name": name,
        "origins": origin or [],
        "timezone": timezone,
        "lang": lang,
    }
    values |= {"windows": windows, "metric": metric, "test": test}
    path = config or Path(CONFIG_NAME)

    if path.is_file() and site in configuration(path).sites:
        msg = f"site {site!r} is declared already; `visit-counter site show {site}` shows it"
        raise SettingsError(msg)

    def add(document: tomlkit.TOMLDocument) -> None:
        sites = document.setdefault("sites", tomlkit.table(is_super_table=True))
        table = tomlkit.table()
        for key, value in values.items():
            if value:
                table.add(key, value)
        sites[site] = table

    _edit(path, path, add)
    found = site_of(configuration(path), site)
    print(f'<script async src="{BASE_URL_HINT}/widget/v1.js" data-site="{found.id}"></script>')
    print(f'<visit-counter site="{found.id}"></visit-counter>')


def site_list(config: Config = None) -> None:
    """List the declared sites."""
    _print_sites(config)


def site_show(site: Annotated[str, typer.Argument(help="Its id.")], config: Config = None) -> None:
    """Show all settings of a site, defaults included."""
    found = site_of(configuration(config), site)
    table = Table("setting", "value", title=found.id)
    for key, value in found.settings.model_dump(mode="json").items():
        table.add_row(key, f"{len(value)} tokens" if key == "tokens" else str(value))
    console.print(table)


def site_close(site: Annotated[str, typer.Argument(help="Its id.")], config: Config = None) -> None:
    """Close a site: it is read as before, and no longer counts."""

    def close(table: Any) -> None:
        table["closed"] = iso(now_ms())

    _edit_site(config, site, close)
    console.print(f"{site} is closed; {LIVE}")


def token_new(site: SiteId, config: Config = None) -> None:
    """Make a bearer token for a site; it is shown once and kept as a hash."""
    before = site_of(configuration(config), site).settings.tokens
    token = secrets.token_urlsafe(32)
    digest = "sha256:" + hashlib.sha256(token.encode()).hexdigest()

    def add(table: Any) -> None:
        # The tokens of [defaults] go on beside it.
        table.setdefault("tokens", list(before)).append(digest)

    _edit_site(config, site, add)
    print(token)  # to be piped
    print(
        f"kept as {digest[:20]}…; this is the only time the token is shown; {LIVE}", file=sys.stderr
    )


def token_revoke(
    site: SiteId,
    config: Config = None,
    prefix: Annotated[
        str, typer.Option(help="Only tokens whose hash begins so; default: all of the site.")
    ] = "sha256:",
) -> None:
    """Revoke tokens of a site; running services take it within about two seconds."""
    before = site_of(configuration(config), site).settings.tokens
    kept = [digest for digest in before if not digest.startswith(prefix)]
    if before and len(kept) == len(before):
        begins = ", ".join(digest[:20] + "…" for digest in before)
        msg = f"no token of {site} begins with {prefix!r}; there are {begins}"
        raise SettingsError(msg)

    def revoke(table: Any) -> None:
        table["tokens"] = kept

    _edit_site(config, site, revoke)
    console.print(f"revoked {len(before) - len(kept)} of {len(before)} tokens of {site}; {LIVE}")


def _print_sites(config: Path | None) -> None:
    found = configuration(config)
    table = Table("site", "name", "origins", "timezone", "windows", "metric", "state")
    for site in found.sites.values():
        settings = site.settings
        state = "closed" if settings.closed else "test" if settings.test else "open"
        origins = ", ".join(settings.origins) or "any"
        table.add_row(
            site.id,
            settings.name,
            origins,
            settings.timezone,
            settings.windows,
            settings.metric,
            state,
        )
    console.print(table)
    if not found.sites:
        console.print("no sites yet: visit-counter site add my-portal --name 'My portal'")


def _edit_site(config: Path | None, site: str, change: Callable[[Any], None]) -> None:
    """Change a site where it is declared: its own file in `sites_dir`, or its table in the configuration.

    Raises:
        SettingsError: it is not declared, or the change cannot be used.
    """
    path = config or Path(CONFIG_NAME)
    found = configuration(config)
    site_of(found, site)
    own = found.declared.files.get(site)
    if own is not None:
        _edit(own, path, change)
    elif site in found.settings.sites and path.is_file():
        _edit(path, path, lambda document: change(document["sites"][site]))
    else:
        msg = f"site {site!r} is declared by the environment, not in {path}: change it there"
        raise SettingsError(msg)


def _edit(file: Path, config: Path, change: Callable[[Any], None]) -> None:
    """Change a file in place, comments kept, and take the change back if the result cannot be used.

    Raises:
        SettingsError: naming what is wrong.
    """
    if not file.is_file():
        msg = f"{file}: no such file; `visit-counter init` writes one"
        raise SettingsError(msg)
    before = file.read_text(encoding="utf-8")
    document = tomlkit.parse(before)
    try:
        change(document)
    except tomlkit.exceptions.NonExistentKey as error:
        msg = f"{file}: {error}"
        raise SettingsError(msg) from error
    write_text(file, tomlkit.dumps(document))
    try:
        _check_file(config, file)
    except SettingsError:
        write_text(file, before)
        raise


def _check_file(config: Path, file: Path) -> None:
    """Read everything as a service would.

    Raises:
        SettingsError: the configuration, or this file of a site, cannot be used.
    """
    for fault in configuration(config).declared.faults:
        if fault.file is not None and fault.file.resolve() == file.resolve():
            raise SettingsError(fault.reason)
