"""Counts the log once more to where each partition stands, and compares; nothing live is changed (DESIGN 3.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct, field

from services.backends.generation import SHADOW_KEPT_MS, Generations
from services.backends.port import EventLog
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.upkeep.base import Base
from services.upkeep.difference import Difference, differences
from services.upkeep.replay import Replay
from services.upkeep.shadowing import (
    Progress,
    begin,
    bring,
    check_partitions,
    check_schema,
    claim,
    drop,
    live_heads,
)
from visits.errors import SettingsError, StoreUnavailableError
from visits.state import FOLD_VERSION, Head, Parameters

DIFFERENCES_MAX = 1_000
"""How many differences are kept to be shown; all are counted."""


class Verified(Struct):
    """What a comparison came to.

    Attributes:
        records: how many records were counted once more.
        sites: how many sites were compared.
        count: how many differences there are.
        differences: the first of them.
    """

    records: int = 0
    sites: int = 0
    count: int = 0
    differences: list[Difference] = field(default_factory=list)


async def verify(
    backends: Backends, progress: Progress, *, base: Base | None = None, is_still: bool = False
) -> Verified:
    """Fold the log to where each partition is counted, by the rules it was counted by, and compare; nothing live is changed.

    Args:
        backends: opened.
        progress: hears how it goes.
        base: where to begin, if the log does not reach back to its beginning.
        is_still: nobody counts in this store, so it is compared as it lies.

    Raises:
        SettingsError: nothing is counted, or it was by other rules than this release has.
        PartitionStoppedError: the log does not go with the store.
        UnavailableError: log or store do not answer.
    """
    found = Verified()
    generations = backends.store.generations()
    await check_partitions(backends)
    meta = await backends.store.meta()
    if meta is not None:
        check_schema(backends.store, meta)
    heads = await live_heads(backends, progress)
    if not heads:
        raise SettingsError("nothing is counted yet: there is nothing to verify")
    for partition, head in heads.items():
        _check_rules(head)
        async with _replaying(backends.log, generations, partition, head.parameters) as replay:
            kept = head if is_still else await _frozen(generations, partition)
            try:
                replay.guarded = [] if is_still else [kept.generation]
                await begin(replay, generations, base, head.parameters)
                found.records += await bring(replay, kept.fence.position, progress)
                await _compare(backends, replay, kept, found)
            finally:
                if not is_still:
                    await generations.keep(partition, kept.generation, 0)
        while await generations.sweep(partition, now_ms()):
            pass
    return found


@asynccontextmanager
async def _replaying(
    log: EventLog, generations: Generations, partition: int, parameters: Parameters
) -> AsyncIterator[Replay]:
    """Make a replay into a shadow that is dropped at the end, however it ends."""
    await claim(generations, partition)
    replay = Replay(log, generations, partition, parameters)
    try:
        yield replay
    finally:
        await replay.close()
        await drop(generations, partition)


async def _frozen(generations: Generations, partition: int) -> Head:
    kept = await generations.freeze(partition, now_ms() + SHADOW_KEPT_MS)
    if kept is None:
        raise StoreUnavailableError(f"partition {partition} is counted no more")
    return kept


async def _compare(backends: Backends, replay: Replay, kept: Head, found: Verified) -> None:
    generations, partition = backends.store.generations(), replay.partition
    folded = await generations.shadow().head(partition)
    if folded is None:
        raise StoreUnavailableError(
            f"partition {partition}: the shadow was taken by another rebuild"
        )
    found.sites += len(await generations.sites(partition, kept.generation))
    async for difference in differences(generations, partition, kept, folded, replay.keep):
        found.count += 1
        if len(found.differences) < DIFFERENCES_MAX:
            found.differences.append(difference)


def _check_rules(head: Head) -> None:
    """Refuse to compare what came by other rules.

    Raises:
        SettingsError: naming both.
    """
    if head.parameters.fold_version != FOLD_VERSION:
        raise SettingsError(
            f"the store was counted by fold version {head.parameters.fold_version}, this release has {FOLD_VERSION}: "
            "run `visit-counter rebuild` without --verify"
        )
