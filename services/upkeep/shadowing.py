"""What rebuilding and verifying share: whose the shadow is, how it is brought somewhere, and how far a run has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.backends.generation import Generations
from services.backends.port import CounterStore, Extent
from services.runtime.backend import Backends
from services.runtime.clock import now_ms
from services.upkeep.base import Base
from services.upkeep.replay import Replay, is_taken
from visits.errors import SettingsError, StoreUnavailableError
from visits.state import Head, Meta, Parameters


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


async def live_heads(backends: Backends, progress: Progress) -> dict[int, Head]:
    """Return the live heads there are, and tell what is to be expected."""
    found = {p: await backends.store.head(p) for p in range(backends.log.partitions)}
    heads = {p: head for p, head in found.items() if head is not None}
    for partition, head in heads.items():
        progress.expect(partition, head.fence.position)
    return heads


async def claim(generations: Generations, partition: int) -> None:
    """Drop the shadow of a rebuild that was killed.

    Raises:
        SettingsError: another rebuild is under way.
    """
    if await is_taken(generations, partition, now_ms()):
        raise SettingsError(
            "another rebuild or restore is under way, or was killed a moment ago: wait 15 s and try again"
        )
    await generations.discard(partition)


async def drop(generations: Generations, partition: int) -> None:
    """Leave a shadow to be removed at once; a store that is away removes it an hour later."""
    try:
        await generations.discard(partition)
    except StoreUnavailableError:
        return


async def begin(
    replay: Replay, generations: Generations, base: Base | None, parameters: Parameters
) -> Extent:
    """Start a replay at the beginning of the log, or on a backup; return what the log holds."""
    if base is not None and replay.partition in base.heads:
        await base.load(generations, replay.partition, parameters)
    return await replay.start()


async def bring(
    replay: Replay,
    end: int,
    progress: Progress,
    waiting: Sequence[Replay] = (),
) -> int:
    """Bring a shadow to a position; return how many records that were."""
    began = replay.position
    progress.expect(replay.partition, end)
    await replay.up_to(end, lambda position: progress.reach(replay.partition, position), waiting)
    return max(0, replay.position - began)


def check_schema(store: CounterStore, meta: Meta) -> None:
    """Refuse to read a layout that is not this release's.

    Raises:
        SettingsError: naming both.
    """
    if meta.schema != store.schema:
        mend = (
            "upgrade visit-counter" if meta.schema > store.schema else "run `visit-counter rebuild`"
        )
        raise SettingsError(
            f"the store has schema {meta.schema}, this release reads {store.schema}: {mend}"
        )


async def check_partitions(backends: Backends) -> None:
    """Refuse a topic that was given partitions by hand: a site's records lie in two places then, and those of before would be dead.

    Raises:
        SettingsError: with the mend.
    """
    meta = await backends.store.meta()
    if meta is None or meta.partitions == backends.log.partitions:
        return
    if meta.log_id == await backends.log.log_id():
        raise SettingsError(
            f"the log has {backends.log.partitions} partitions, it was counted with {meta.partitions}: their number is fixed for the "
            "life of a log; `visit-counter repartition` copies it into a new topic"
        )
