"""Fills an empty pair from a backup: the same numbers, and counting goes on from the very record they were saved at."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from services.backends.generation import Swapped
from services.backends.sqlite import is_in_use
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.upkeep.base import Base
from services.upkeep.copy import copy_file, reading
from services.upkeep.replay import Replay, is_taken
from visits.errors import SettingsError, StoreUnavailableError
from visits.state import FOLD_VERSION


def restore_file(base: Base, target: Path) -> None:
    """Put an embedded file, log and all, where there is none or an empty one.

    Raises:
        SettingsError: the target is in use or not empty, or the backup is damaged or of the other pair.
    """
    if not base.is_embedded:
        raise SettingsError(
            f"{base.path} is a backup of Kafka + Redis, the configuration names the file {target}: restore it with that pair"
        )
    base.check()
    if target.exists():
        if is_in_use(target):
            raise SettingsError(
                f"{target} is in use by another visit-counter process: stop it first"
            )
        _check_empty(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    copy_file(base.path, target)


async def restore_store(base: Base, backends: Backends) -> dict[int, int]:
    """Fill an empty Redis store; return partition → the position that counting goes on from.

    Every partition is loaded and held against the log before the first one becomes live; what the store holds to comes last, so
    that no reader sees a part.

    Raises:
        SettingsError: the store is not empty, the backup is of another log, pair or release, or damaged.
        PartitionStoppedError: the log does not go with the backup.
        UnavailableError: log or store do not answer.
    """
    meta = base.meta
    if base.is_embedded or meta is None:
        raise SettingsError(
            f"{base.path} is the backup of an embedded file, the configuration names Kafka + Redis: restore it with that pair"
        )
    base.check()
    if meta.fold_version > FOLD_VERSION:
        raise SettingsError(
            f"{base.path} was counted by fold version {meta.fold_version}, this release has {FOLD_VERSION}: upgrade visit-counter"
        )
    log_id = await backends.log.log_id()
    if meta.log_id != log_id:
        raise SettingsError(
            f"{base.path} was counted from log {meta.log_id}, log.url names log {log_id}: counting could not go on from it"
        )
    if meta.partitions != backends.log.partitions:
        raise SettingsError(
            f"{base.path} has {meta.partitions} partitions, the log has {backends.log.partitions}"
        )
    await _check_empty_store(backends)
    generations, replays = backends.store.generations(), []
    try:
        for partition, saved in base.heads.items():
            await base.load(generations, partition, saved.parameters)
            replay = Replay(backends.log, generations, partition, saved.parameters)
            replays.append(replay)
            await replay.start()
            await replay.up_to(saved.fence.position, lambda _position: None)
            for other in replays:
                await other.keep()
        for replay in replays:
            answer = await generations.swap(replay.partition, replay.generation, now_ms())
            if not isinstance(answer, Swapped):
                raise StoreUnavailableError(
                    "an aggregator has begun to count into the store meanwhile: stop it, empty the store, try again"
                )
        await generations.replace_meta(replace(meta, schema=backends.store.schema))
    finally:
        for replay in replays:
            await replay.close()
            await generations.discard(replay.partition)
    return {partition: head.fence.position for partition, head in base.heads.items()}


async def _check_empty_store(backends: Backends) -> None:
    """Refuse a store in which anything was counted.

    Raises:
        SettingsError: saying what it counts.
    """
    generations = backends.store.generations()
    stored = await backends.store.meta()
    if stored is not None:
        raise SettingsError(
            f"the store is not empty: it counts log {stored.log_id}; restore into an empty one (another database or server)"
        )
    for partition in range(backends.log.partitions):
        if (await generations.overview(partition)).live:
            raise SettingsError(
                f"the store is not empty: partition {partition} is counted; restore into an empty one"
            )
        if await is_taken(generations, partition, now_ms()):
            raise SettingsError(
                "another restore is under way, or was killed a moment ago: wait 15 s"
            )


def _check_empty(target: Path) -> None:
    """Refuse a file with any record.

    Raises:
        SettingsError: naming its log.
    """
    try:
        with closing(reading(target)) as connection:
            (records,) = connection.execute("SELECT count(*) FROM log").fetchone()
            (log_id,) = connection.execute(
                "SELECT value FROM property WHERE name = 'log_id'"
            ).fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise SettingsError(
            f"{target} exists and cannot be read ({error}): move it away"
        ) from error
    if records:
        raise SettingsError(
            f"{target} is not empty: it holds {records} records of log {log_id}; move it away first"
        )
