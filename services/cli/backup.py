"""The commands `backup` and `restore`: one file with all numbers, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from services.backends.sqlite import open_sqlite
from services.cli.beside import check_embedded_file, opened_beside, run_to_end
from services.cli.option import Config, configuration
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.runtime.settings import Configuration
from services.upkeep.base import Base, opened_base
from services.upkeep.copy import copy_file
from services.upkeep.restoring import restore_file, restore_store
from services.upkeep.saving import save_store
from visits.errors import SettingsError

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="Where to; one that is there is replaced.")],
    config: Config = None,
) -> None:
    """Save all numbers into one file while everything runs. Salts are left out.

    Embedded: log and numbers. Kafka + Redis: the numbers with the place in the log they hold at; the log is Kafka's to keep.
    """
    found = configuration(config)
    check_embedded_file(found)
    if not file.absolute().parent.is_dir():
        raise SettingsError(f"{file.parent} is no folder")
    if found.settings.is_embedded:
        if file.exists() and file.samefile(found.sqlite_path()):
            raise SettingsError(f"{file} is the data file itself: name another one")
        copy_file(found.sqlite_path(), file)
        with opened_base(file) as made:
            made.check()
            positions = {p: head.fence.position for p, head in made.heads.items()}
        run_to_end(lambda: _note(found))
    else:
        positions = run_to_end(lambda: _save(found, file))
    size = file.stat().st_size / 1e6
    console.print(f"saved {file} ({size:,.1f} MB), counted to {_told(positions)}", markup=False)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` or `up --backup-dir` made.")],
    config: Config = None,
) -> None:
    """Fill an empty pair from a backup; counting goes on from the record it was made at.

    Stop the services first. Refused: a target that is not empty, another log than the one it was counted from, a newer release's file.
    """
    found = configuration(config)
    with opened_base(file) as base:
        if found.settings.is_embedded:
            restore_file(base, found.sqlite_path())
            positions = run_to_end(lambda: _positions(found))
        else:
            positions = run_to_end(lambda: _restore(found, base))
    console.print(f"restored from {file}, counting goes on from {_told(positions)}", markup=False)


async def _save(found: Configuration, file: Path) -> dict[int, int]:
    async with opened_beside(found, only_store=True) as backends:
        columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} rows"))
        with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
            task = bar.add_task("saving", total=None)
            positions = await save_store(backends.store, file, lambda n: bar.advance(task, n))
        await backends.store.generations().note_backup(now_ms())
    return positions


async def _note(found: Configuration) -> None:
    """Tell the aggregator, whose metric it is."""
    async with opened_beside(found) as backends:
        await backends.store.generations().note_backup(now_ms())


async def _restore(found: Configuration, base: Base) -> dict[int, int]:
    async with opened_beside(found) as backends:
        return await restore_store(base, backends)


async def _positions(found: Configuration) -> dict[int, int]:
    backends = Backends(*open_sqlite(found.sqlite_path()))
    await backends.open()
    try:
        head = await backends.store.head(0)
    finally:
        await backends.close()
    return {} if head is None else {0: head.fence.position}


def _told(positions: dict[int, int]) -> str:
    return (
        ", ".join(f"{partition}:{position}" for partition, position in positions.items()) or "0:0"
    )
