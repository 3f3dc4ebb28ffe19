"""What all load tests share: their options, the system they load, and where their results go."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from services.cli.load import run_plan
from services.load.generator import Limits
from services.load.plan import Plan
from services.load.plot import plot_svg
from services.load.report import print_result
from services.load.result import Result
from services.load.schedule import Phase, parse_seconds
from tests.load.system import SITE, System, own_system

console = Console(highlight=False, soft_wrap=True)


class Options(msgspec.Struct, frozen=True):
    """What was asked on the command line.

    Attributes:
        url, api_url, token, sites: of a system that runs; `url` is empty to start an own one.
        pair: of the own one.
        rate: views a second.
        seconds: how long.
        folder: for results.
        extra: the program's own options.
    """

    url: str
    api_url: str
    token: str
    sites: tuple[str, ...]
    pair: str
    rate: float
    seconds: float
    folder: Path
    extra: dict[str, float]

    @contextmanager
    def system(self, own_sites: Sequence[str] = (SITE,)) -> Iterator[System]:
        """Yield the system to load: the one that was named, else an own one with these sites."""
        if self.url:
            sites = self.sites or tuple(own_sites)
            yield System(self.url, self.api_url or self.url, self.token, sites, self.url)
            return
        with own_system("kafka" if self.pair == "kafka" else "embedded", own_sites) as system:
            yield system


def parse_options(
    doc: str | None,
    *,
    rate: float,
    seconds: float,
    arguments: Sequence[str] | None = None,
    **extra: float,
) -> Options:
    """Read the command line of a load test.

    Args:
        doc: the program's docstring: its help.
        rate: views a second, unless told otherwise.
        seconds: how long, unless told otherwise.
        arguments: the command line; that of this process if None.
        extra: numbers of this program alone, with their defaults.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="", help="a system that runs; default: start an own one")
    parser.add_argument("--api-url", default="", help="where its numbers are read, if elsewhere")
    parser.add_argument(
        "--site", action="append", default=[], help="its test site; may be repeated"
    )
    parser.add_argument("--token", default="", help="a token of its test sites")
    parser.add_argument("--pair", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--rate", type=float, default=rate, help=f"views a second ({rate:g})")
    parser.add_argument("--duration", default=f"{seconds:g}s", help=f"how long ({seconds:g}s)")
    parser.add_argument("--results", type=Path, default=Path("load-results"), help="their folder")
    for name, default in extra.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    found = parser.parse_args(arguments)
    return Options(
        url=found.url,
        api_url=found.api_url,
        token=found.token,
        sites=tuple(found.site),
        pair=found.pair,
        rate=found.rate,
        seconds=parse_seconds(found.duration),
        folder=found.results,
        extra={name: getattr(found, name) for name in extra},
    )


def make_plan(
    system: System,
    phases: Sequence[Phase],
    *,
    sites: Sequence[str] = (),
    visitors: int = 10_000,
    pages: int = 200,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Plan:
    """Return a plan against a system, for its first site unless others are named."""
    return Plan(
        url=system.url,
        api_url=system.api_url,
        sites=tuple(sites) or system.sites[:1],
        phases=tuple(phases),
        visitors=visitors,
        pages=pages,
        token=system.token,
        limits=limits,
    )


def load(name: str, options: Options, plan: Plan, system: System) -> Result:
    """Carry out a plan, print what it found and write it down as `NAME.json` and `NAME.svg`."""
    console.print(
        f"[bold]{name}[/]: {plan.rate_per_second:,.0f} views/s for {plan.seconds:,.0f} s, {system.name}"
    )
    result = run_plan(plan)
    print_result(result, console)
    save(name, options, result)
    return result


def save(name: str, options: Options, result: Result) -> None:
    """Write a result as data and as a picture."""
    write(name, options, msgspec.json.format(msgspec.json.encode(result), indent=2))
    (options.folder / f"{name}.svg").write_text(plot_svg(result), encoding="utf-8")


def write(name: str, options: Options, document: bytes) -> None:
    """Write a JSON document as `NAME.json`."""
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"{name}.json"
    path.write_bytes(document)
    console.print(f"written    {path} and what belongs to it")


def verdict(claims: dict[str, bool]) -> int:
    """Print each claim of a load test and whether it held; return the exit status."""
    for claim, holds in claims.items():
        console.print(f"{'[green]holds[/]' if holds else '[red]FAILS[/]'}      {claim}")
    return 0 if all(claims.values()) else 1
