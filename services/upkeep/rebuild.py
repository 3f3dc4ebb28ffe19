"""Counts the log once more beside live counting, and lets the result take over (DESIGN 3.6)."""

from __future__ import annotations

from msgspec import Struct, field

from services.backends.generation import Behind, Moved
from services.backends.port import Identity
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.upkeep.base import Base
from services.upkeep.replay import Replay
from services.upkeep.shadowing import (
    Progress,
    begin,
    bring,
    check_partitions,
    claim,
    drop,
    live_heads,
)
from visits.errors import SettingsError, StoreUnavailableError
from visits.fence import Fence
from visits.state import FOLD_VERSION, Meta, Parameters

SWAP_TRIES = 1_000
"""How often a live generation may have moved on before a swap: each try brings the shadow to the end of the log first."""


class Rebuilt(Struct):
    """What a rebuild came to.

    Attributes:
        records: how many records were counted once more.
        positions: partition → the position at which it was swapped.
    """

    records: int = 0
    positions: dict[int, int] = field(default_factory=dict)


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
    await check_partitions(backends)
    replays: list[Replay] = []
    await live_heads(backends, progress)
    try:
        for partition in range(log.partitions):
            await claim(generations, partition)
            replay = Replay(log, generations, partition, parameters, rest=rest)
            replays.append(replay)
            extent = await begin(replay, generations, base, parameters)
            await _check_log(backends, replay, identity, extent.end, is_other_log=is_other_log)
            found.records += await bring(replay, extent.end, progress, replays)
        for replay in replays:
            for other in replays[replay.partition :]:
                await other.keep()
            found.positions[replay.partition] = await _swap(
                backends, replay, progress, found, is_other_log=is_other_log
            )
        await _set_meta(backends, identity.log_id, parameters)
    finally:
        for replay in replays:
            await replay.close()
            if replay.partition not in found.positions:
                await drop(generations, replay.partition)
    return found


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
        found.records += await bring(replay, (await replay.extent()).end, progress)
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
    meta = Meta(
        backends.store.schema,
        log_id,
        backends.log.partitions,
        parameters.bucket_minutes,
        FOLD_VERSION,
    )
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
