"""How a command looks at a pair that others count in: opened beside them, or one moment of it that stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from services.backends.generation import SHADOW_KEPT_MS
from services.backends.sqlite import open_sqlite
from services.runtime.backend import Backends, make_backends
from services.runtime.clock import now_ms
from services.runtime.settings import Configuration
from services.upkeep.copy import VERIFY, copy_file, remove_leftovers
from visits.errors import SettingsError, StoreUnavailableError
from visits.state import Head

Result = TypeVar("Result")


@asynccontextmanager
async def opened_beside(
    found: Configuration, *, only_store: bool = False
) -> AsyncIterator[Backends]:
    """Open the pair beside whatever runs on it."""
    backends = make_backends(found, exclusive=False)
    await backends.open(only_store=only_store)
    try:
        yield backends
    finally:
        await backends.close()


@asynccontextmanager
async def copied(path: Path) -> AsyncIterator[Backends]:
    """Open a copy of an embedded file, gone afterwards: what runs on the file itself is not held up."""
    remove_leftovers(path)
    copy = path.with_name(f"{path.name}{VERIFY}{os.getpid()}")
    try:
        copy_file(path, copy)
        backends = Backends(*open_sqlite(copy))
        await backends.open()
        try:
            yield backends
        finally:
            await backends.close()
    finally:
        for left in path.parent.glob(f"{copy.name}*"):
            left.unlink(missing_ok=True)


@asynccontextmanager
async def still(
    found: Configuration, partition_of: Callable[[int], int]
) -> AsyncIterator[tuple[Backends, int, Head]]:
    """Yield a pair, a partition of it, and the head of a generation that does not change any more.

    Args:
        found: the configuration.
        partition_of: which partition of so many is meant.

    Raises:
        SettingsError: nothing is counted yet.
        StoreUnavailableError: the store does not answer.
    """
    if found.settings.is_embedded:
        async with copied(found.sqlite_path()) as backends:
            head = await backends.store.head(0)
            if head is None:
                raise SettingsError("nothing is counted yet")
            yield backends, 0, head
        return
    async with opened_beside(found, only_store=True) as backends:
        meta = await backends.store.meta()
        if meta is None:
            raise SettingsError("nothing is counted yet")
        partition, generations = partition_of(meta.partitions), backends.store.generations()
        head = await generations.freeze(partition, now_ms() + SHADOW_KEPT_MS)
        if head is None:
            raise SettingsError(f"partition {partition} is not counted yet")
        try:
            yield backends, partition, head
        finally:
            with suppress(StoreUnavailableError):
                await generations.keep(partition, head.generation, 0)
                while await generations.sweep(partition, now_ms()):
                    pass


def check_embedded_file(found: Configuration) -> None:
    """Refuse to make an embedded file by looking for it.

    Raises:
        SettingsError: there is none.
    """
    if found.settings.is_embedded and not found.sqlite_path().is_file():
        raise SettingsError(f"{found.sqlite_path()} does not exist: nothing is counted yet")


def run_to_end(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run in an event loop; SIGTERM ends it as Ctrl-C does, and what was begun is put away."""

    async def run() -> Result:
        task = asyncio.current_task()
        assert task is not None, "within a loop"
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work()

    try:
        if sys.platform == "win32":
            return asyncio.run(run())
        import uvloop  # noqa: PLC0415  # not on Windows

        return uvloop.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
