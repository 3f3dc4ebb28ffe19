"""The command `repartition`: the log copied into a topic of another number of partitions."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.cli.beside import opened_beside, run_to_end
from services.cli.option import Config, configuration
from services.runtime.settings import Configuration
from services.upkeep.repartition import Copied, copy_log
from visits.errors import SettingsError

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(repartition)


def repartition(
    to: Annotated[str, typer.Option("--to", help="The new topic: kafka://HOST:PORT/TOPIC.")],
    partitions: Annotated[
        int, typer.Option("--partitions", min=1, max=256, help="How many it is to have.")
    ],
    config: Config = None,
) -> None:
    """Copy the whole log into a new topic with another number of partitions. Stop ingest first.

    Afterwards: let log.url and log.partitions name the new topic, stop the services, run `visit-counter rebuild --other-log`, and
    start them again. docs/upgrade.md has the steps.
    """
    found = configuration(config)
    if found.settings.is_embedded:
        raise SettingsError("an embedded file has one partition, and needs no more")
    if to == found.settings.log.url:
        raise SettingsError("--to names the log itself: name a new topic")
    copied = run_to_end(lambda: _copy(found, to, partitions))
    console.print(
        f"copied: {copied.records:,} records into {partitions} partitions"
        + (
            f", {copied.misplaced:,} left out that lay in a wrong partition"
            if copied.misplaced
            else ""
        ),
        markup=False,
    )


async def _copy(found: Configuration, to: str, partitions: int) -> Copied:
    from services.backends.kafka import KafkaLog  # noqa: PLC0415  # the embedded pair starts faster without

    settings = found.settings.log
    target = KafkaLog.from_url(to, partitions=partitions, replication_factor=settings.replication)
    columns = (TextColumn("copying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with opened_beside(found) as backends:
        await target.open()
        try:
            meta = await backends.store.meta()
            with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
                task = bar.add_task("copying", total=None)
                return await copy_log(
                    backends.log,
                    target,
                    lambda done, total: bar.update(task, completed=done, total=total),
                    counted_with=None if meta is None else meta.partitions,
                )
        finally:
            await target.close()
