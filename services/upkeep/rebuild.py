"""Counts the log once more beside live counting, and either compares or swaps (DESIGN 3.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct, field

from services.backends.generation import SHADOW_KEPT_MS, Behind, Generations, Moved
from services.backends.port import EventLog, Identity
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.upkeep.base import Base
from services.upkeep.difference import Difference, differences
from services.upkeep.replay import Replay, is_taken
from visits.errors import SettingsError, StoreUnavailableError
from visits.fence import Fence
from visits.state import FOLD_VERSION, SCHEMA, Head, Meta, Parameters

DIFFERENCES_MAX = 1_000
"""How many differences are kept to be shown; all are counted."""

SWAP_TRIES = 1_000
"""How often a live generation may have moved on before a swap: each try brings the shadow to the end of the log first."""


class Progress:
    """How far a run has come, partition by partition.

    Attributes:
        done: records counted once more.
        total: records to be counted, as far as is known.
    """

    def __init__(self, on_change: Callable[[Progress], None] = lambda _progress: None) -> None:
        """Take who is told of every change."""
        self._on_change = on_change
        self._ends: dict[int, int] = {}
        self._reached: dict[int, int] = {}

    @property
    def done(self) -> int:
        """Records counted once more."""
        return sum(self._reached.values())

    @property
    def total(self) -> int:
        """Records to be counted, as far as is known."""
        return sum(self._ends.values())

    def expect(self, partition: int, end: int) -> None:
        """Note where a partition is to be brought."""
        self._ends[partition] = max(end, self._ends.get(partition, 0))
        self._on_change(self)

    def reach(self, partition: int, position: int) -> None:
        """Note where a partition has come to."""
        self._reached[partition] = position
        self._on_change(self)


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


class Rebuilt(Struct):
    """What a rebuild came to.

    Attributes:
        records: how many records were counted once more.
        positions: partition → the position at which it was swapped.
    """

    records: int = 0
    positions: dict[int, int] = field(default_factory=dict)


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
    heads = await _heads(backends, progress)
    if not heads:
        raise SettingsError("nothing is counted yet: there is nothing to verify")
    for partition, head in heads.items():
        _check_rules(head)
        async with _replaying(backends.log, generations, partition, head.parameters) as replay:
            kept = head if is_still else await _frozen(generations, partition)
            try:
                if base is not None:
                    await base.load(generations, partition, head.parameters)
                await replay.start()
                await _fold(replay, kept.fence.position, progress, found)
                await _compare(backends, partition, kept, found)
            finally:
                if not is_still:
                    await generations.keep(partition, kept.generation, 0)
        while await generations.sweep(partition, now_ms()):
            pass
    return found


async def rebuild(
    backends: Backends,
    parameters: Parameters,
    progress: Progress,
    *,
    base: Base | None = None,
    is_other_log: bool = False,
    rest: float = 0.0,
) -> Rebuilt:
    """Fold the whole log into a shadow of every partition, bring it level with live counting, and swap.

    Args:
        backends: opened.
        parameters: what the new generation is counted by.
        progress: hears how it goes.
        base: where to begin, if the log does not reach back to its beginning.
        is_other_log: what was counted from another log, or from records the log has lost, is given up.
        rest: see `Replay`.

    Raises:
        SettingsError: it would give up what only another log had, and nobody said so.
        PartitionStoppedError: the log cannot be counted; nothing was swapped.
        UnavailableError: log or store do not answer.
    """
    found = Rebuilt()
    generations, log = backends.store.generations(), backends.log
    identity = await log.identity()
    replays: list[Replay] = []
    await _heads(backends, progress)
    try:
        for partition in range(log.partitions):
            await _claim(generations, partition)
            replay = Replay(log, generations, partition, parameters, rest=rest)
            replays.append(replay)
            if base is not None:
                await base.load(generations, partition, parameters)
            extent = await replay.start()
            await _check_log(backends, replay, identity, extent.end, is_other_log=is_other_log)
            await _fold(replay, extent.end, progress, found)
            for other in replays:
                await other.keep()
        for replay in replays:
            found.positions[replay.partition] = await _swap(
                backends, replay, progress, found, is_other_log=is_other_log
            )
        await _set_meta(backends, identity.log_id, parameters)
    finally:
        for replay in replays:
            await replay.close()
            if replay.partition not in found.positions:
                await _drop(generations, replay.partition)
    return found


async def _heads(backends: Backends, progress: Progress) -> dict[int, Head]:
    """Return the live heads there are, and tell what is to be expected."""
    found = {p: await backends.store.head(p) for p in range(backends.log.partitions)}
    heads = {p: head for p, head in found.items() if head is not None}
    for partition, head in heads.items():
        progress.expect(partition, head.fence.position)
    return heads


@asynccontextmanager
async def _replaying(
    log: EventLog, generations: Generations, partition: int, parameters: Parameters
) -> AsyncIterator[Replay]:
    """Make a replay into a shadow that is dropped at the end, however it ends."""
    await _claim(generations, partition)
    replay = Replay(log, generations, partition, parameters)
    try:
        yield replay
    finally:
        await replay.close()
        await _drop(generations, partition)


async def _claim(generations: Generations, partition: int) -> None:
    """Drop the shadow of a rebuild that was killed.

    Raises:
        SettingsError: another rebuild is under way.
    """
    if await is_taken(generations, partition, now_ms()):
        raise SettingsError(
            "another rebuild or restore is under way, or was killed a moment ago: wait 15 s and try again"
        )
    await generations.discard(partition)


async def _drop(generations: Generations, partition: int) -> None:
    """Leave a shadow to be removed at once; a store that is away removes it an hour later."""
    try:
        await generations.discard(partition)
    except StoreUnavailableError:
        return


async def _frozen(generations: Generations, partition: int) -> Head:
    kept = await generations.freeze(partition, now_ms() + SHADOW_KEPT_MS)
    if kept is None:
        raise StoreUnavailableError(f"partition {partition} is counted no more")
    return kept


async def _fold(replay: Replay, end: int, progress: Progress, found: Verified | Rebuilt) -> None:
    """Bring a shadow to a position."""
    began = replay.position
    progress.expect(replay.partition, end)
    await replay.up_to(end, lambda position: progress.reach(replay.partition, position))
    found.records += max(0, replay.position - began)


async def _compare(backends: Backends, partition: int, kept: Head, found: Verified) -> None:
    generations = backends.store.generations()
    folded = await generations.shadow().head(partition)
    if folded is None:
        raise StoreUnavailableError(
            f"partition {partition}: the shadow was taken by another rebuild"
        )
    found.sites += len(await generations.sites(partition, kept.generation))
    async for difference in differences(generations, partition, kept, folded):
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


async def _check_log(
    backends: Backends, replay: Replay, identity: Identity, end: int, *, is_other_log: bool
) -> None:
    """Refuse early to give up what only another log had.

    Raises:
        SettingsError: saying what would be gone.
    """
    live = await backends.store.head(replay.partition)
    if live is None or is_other_log:
        return
    if live.fence.log_id != identity.log_id:
        what = f"counted from log {live.fence.log_id}, and this one is {identity.log_id}"
    elif live.fence.position > end:
        what = f"counted to {live.fence.position}, and the log ends at {end}"
    else:
        return
    raise SettingsError(_gives_up(replay.partition, what))


def _gives_up(partition: int, what: str) -> str:
    return (
        f"partition {partition} was {what}: what only the former log had would be gone from the numbers. "
        "Make a backup, then say --other-log to go on"
    )


async def _swap(
    backends: Backends, replay: Replay, progress: Progress, found: Rebuilt, *, is_other_log: bool
) -> int:
    """Bring a shadow level with the live generation and make it live; return its position.

    Raises:
        SettingsError: the live generation is of another history, and nobody said that it may go.
        StoreUnavailableError: another rebuild was faster.
    """
    generations = backends.store.generations()
    over: Fence | None = None
    for _ in range(SWAP_TRIES):
        await _fold(replay, (await replay.extent()).end, progress, found)
        answer = await generations.swap(replay.partition, replay.generation, now_ms(), over)
        if isinstance(answer, Moved):
            raise StoreUnavailableError(
                f"partition {replay.partition}: another rebuild was faster, or the store was emptied"
            )
        if not isinstance(answer, Behind):
            return replay.position
        live, mine = answer.live, await replay.fence()
        end = (await replay.extent()).end
        if mine is not None and live.log_id == mine.log_id and mine.position < live.position <= end:
            # Live counting has gone on meanwhile.
            continue
        if not is_other_log:
            what = f"counted to {live.position} of log {live.log_id}, from other records than this log has"
            raise SettingsError(_gives_up(replay.partition, what))
        over = live
    raise StoreUnavailableError(f"partition {replay.partition}: live counting was always ahead")


async def _set_meta(backends: Backends, log_id: str, parameters: Parameters) -> None:
    """Say what the store holds to now; leave nothing of partitions that the log no longer has."""
    generations = backends.store.generations()
    stored = await backends.store.meta()
    meta = Meta(SCHEMA, log_id, backends.log.partitions, parameters.bucket_minutes, FOLD_VERSION)
    if stored == meta:
        return
    await generations.replace_meta(meta)
    for partition in range(
        meta.partitions, meta.partitions if stored is None else stored.partitions
    ):
        live = await backends.store.head(partition)
        if live is not None:
            await generations.discard(partition)
            head = await generations.shadow().begin(partition, log_id, parameters)
            await generations.swap(partition, head.generation, now_ms(), live.fence)
