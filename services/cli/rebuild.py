"""The command `rebuild`: the log counted once more, to compare or to take over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from services.backends.sqlite import is_in_use
from services.cli.beside import check_embedded_file, copied, opened_beside, run_to_end
from services.cli.option import Config, configuration
from services.runtime.settings import Configuration
from services.upkeep import rebuild as rebuilding
from services.upkeep.base import Base, opened_base
from services.upkeep.shadowing import Progress as ShadowProgress
from services.upkeep.verifying import verify

REST_BESIDE = 1.0
"""Beside a service on the same file every step is followed by a rest as long as itself: its appends come first."""

SHOWN_MAX = 50

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True)

BaseFile = Annotated[
    Path | None,
    typer.Option("--base", help="A backup to begin from, where the log has lost its beginning."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rebuild)


def rebuild(
    config: Config = None,
    only_verify: Annotated[
        bool, typer.Option("--verify", help="Only compare; exit status 1 where numbers differ.")
    ] = False,
    base: BaseFile = None,
    other_log: Annotated[
        bool,
        typer.Option(
            "--other-log", help="Give up what only a former log had; make a backup first."
        ),
    ] = False,
) -> None:
    """Count the whole log once more and let the result take over, while everything runs. Ctrl-C leaves all as it was.

    With --verify nothing is changed: the numbers are compared at the same position of the log, and every difference is named.
    Needed after store.bucket_minutes or store.max_pages was changed, and where a service says so.
    """
    found = configuration(config)
    check_embedded_file(found)
    with ExitStack() as stack:
        opened = None if base is None else stack.enter_context(opened_base(base))
        if only_verify:
            raise typer.Exit(run_to_end(lambda: _verify(found, opened)))
        run_to_end(lambda: _rebuild(found, opened, is_other_log=other_log))


async def _rebuild(found: Configuration, base: Base | None, *, is_other_log: bool) -> None:
    embedded = found.settings.is_embedded
    rest = REST_BESIDE if embedded and is_in_use(found.sqlite_path()) else 0.0
    async with opened_beside(found) as backends:
        with shown("counting") as progress:
            done = await rebuilding.rebuild(
                backends,
                found.settings.parameters,
                progress,
                base=base,
                is_other_log=is_other_log,
                rest=rest,
            )
    at = ", ".join(f"{partition}:{position}" for partition, position in done.positions.items())
    console.print(
        f"rebuilt: {done.records:,} records counted once more, live at {at}", markup=False
    )


async def _verify(found: Configuration, base: Base | None) -> int:
    """Compare, say what came of it, and return the exit status."""
    if found.settings.is_embedded:
        async with copied(found.sqlite_path()) as backends:
            with shown("verifying") as progress:
                verified = await verify(backends, progress, base=base, is_still=True)
    else:
        async with opened_beside(found) as backends:
            with shown("verifying") as progress:
                verified = await verify(backends, progress, base=base)
    counted = f"{verified.records:,} records counted once more, {verified.sites} sites compared"
    if not verified.count:
        console.print(f"books equal: {counted}, 0 differences")
        return 0
    table = Table("site", "counter", "store", "log", box=SIMPLE_HEAD)
    for difference in verified.differences[:SHOWN_MAX]:
        table.add_row(difference.site, difference.what, str(difference.store), str(difference.log))
    console.print(table)
    if verified.count > SHOWN_MAX:
        console.print(f"and {verified.count - SHOWN_MAX:,} more")
    console.print(f"{verified.count:,} differences: {counted}; `visit-counter rebuild` mends them")
    return 1


@contextmanager
def shown(what: str) -> Iterator[ShadowProgress]:
    """Show a bar on a terminal; yield what moves it."""
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def move(progress: ShadowProgress) -> None:
            bar.update(task, completed=progress.done, total=progress.total)

        yield ShadowProgress(move)
