"""A backup of the embedded file every night, from within the process that counts, and no more of them than asked for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import structlog
from fastapi import FastAPI

from services.backends.port import CounterStore
from services.runtime.clock import now_ms
from services.upkeep.copy import copy_file, remove_leftovers
from visits.errors import VisitCounterError

HOUR = 2
"""The local hour from which on a night's backup is due."""

LOOK_SECONDS = 60.0
NAME = re.compile(r"visit-counter-(\d{4}-\d{2}-\d{2})\.db")

log = structlog.get_logger()


def backup_name(day: date) -> str:
    """Return the name of a day's backup."""
    return f"visit-counter-{day.isoformat()}.db"


def is_due(names: Sequence[str], now: datetime) -> bool:
    """Claim that a backup is to be made: there is none at all, or none of today and it is late enough.

    Args:
        names: of the files in the folder.
        now: local time.
    """
    days = [found[1] for name in names if (found := NAME.fullmatch(name))]
    if not days:
        return True
    last = max(days)
    today = now.date().isoformat()
    return last < today and (now.hour >= HOUR or (now.date() - date.fromisoformat(last)).days > 1)


def superfluous(names: Sequence[str], keep: int) -> list[str]:
    """Return the backups older than the `keep` newest; files of another name are nobody's business."""
    return sorted((name for name in names if NAME.fullmatch(name)), reverse=True)[keep:]


class NightlyPart:
    """Makes backups beside whatever else the process does."""

    def __init__(self, source: Path, store: CounterStore, folder: Path | None, keep: int) -> None:
        """Take the embedded file and its opened store; without a folder nothing is backed up."""
        self._source = source
        self._store = store
        self._folder = folder
        self._keep = keep
        self._task: asyncio.Task[None] | None = None

    def install(self, app: FastAPI) -> None:
        """Add nothing: the time of the last backup is the aggregator's metric."""

    async def start(self) -> None:
        """Put away what killed verifications left, and begin to look."""
        await asyncio.to_thread(remove_leftovers, self._source)
        if self._folder is not None:
            self._task = asyncio.create_task(self._run(self._folder), name="nightly")

    async def drain(self) -> None:
        """Nothing is lost by an end in the middle: a backup gets its name when it is whole."""

    async def close(self) -> None:
        """End the looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, folder: Path) -> None:
        while True:
            try:
                await self._look(folder)
            except (OSError, VisitCounterError) as error:
                log.error("no backup could be made", folder=str(folder), reason=str(error))  # noqa: TRY400  # the sentence is what helps
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, folder: Path) -> None:
        now = datetime.now().astimezone()
        names = await asyncio.to_thread(_names, folder)
        if not is_due(names, now):
            return
        target = folder / backup_name(now.date())
        await asyncio.to_thread(copy_file, self._source, target)
        await self._store.generations().note_backup(now_ms())
        log.info("backed up", file=str(target))
        for name in superfluous([*names, target.name], self._keep):
            (folder / name).unlink(missing_ok=True)  # one unlink


def _names(folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return [file.name for file in folder.iterdir()]
