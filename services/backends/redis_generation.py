"""Generations of the store in Redis: `services.backends.generation` as scripts, and the store as seen through the shadow.

The scripts of counting take the pointer as a key, so a shadow is read and applied to by the very same ones, with its own pointer in the
place of the live one's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, Self

import msgspec

from services.backends import redis_batch as batches
from services.backends import redis_generation_script as scripts
from services.backends import redis_key as names
from services.backends.generation import (
    RETIRED_KEPT_MS,
    SHADOW_KEPT_MS,
    Behind,
    Moved,
    Overview,
    Swapped,
)
from services.backends.redis import READ_TRIES, RedisStore
from services.backends.redis_key import Keys, ShadowKeys
from services.backends.redis_script import Argument, Script, reads
from services.backends.redis_table import RedisTables
from visits.errors import StoreUnavailableError
from visits.fence import Fence
from visits.state import Head, Meta, Parameters

UNLINKED_AT_ONCE = 500
"""Keys one step of a removal takes; Redis frees what they hold in a thread of its own."""

SITES_AT_ONCE = 50

_new_shadow, _discard, _finish = (
    Script(scripts.NEW_SHADOW),
    Script(scripts.DISCARD),
    Script(scripts.FINISH),
)
_swap, _freeze, _condemn = Script(scripts.SWAP), Script(scripts.FREEZE), Script(scripts.CONDEMN)


class RedisGenerations(RedisTables):
    """All generations of a store that is open, and the store as seen through the shadow."""

    keys_of = ShadowKeys

    def __init__(self, url: str, client: Any) -> None:
        """Take the client of an open store, which opens and closes it."""
        super().__init__(url)
        self._client = client

    async def open(self) -> Self:
        """Do nothing: the store is open."""
        return self

    async def close(self) -> None:
        """Do nothing: the store closes itself."""

    def shadow(self) -> RedisStore:
        """Return the store as seen through the shadow."""
        return self

    @reads
    async def begin(self, partition: int, log_id: str, parameters: Parameters) -> Head:
        """Make a shadow if there is none with a fence."""
        for _ in range(READ_TRIES):
            head = await self.head(partition)
            if head is not None:
                return head
            fields = batches.head_fields(log_id, parameters)
            await self._make(partition, _now_ms() + SHADOW_KEPT_MS, fields)
        raise StoreUnavailableError("the shadow moved while it was made")

    @reads
    async def overview(self, partition: int) -> Overview:
        """Return which generations there are."""
        live, shadow = [
            int(await self._call(lambda key=key: self._client.get(key), key) or 0)
            for key in (names.pointer(partition), names.shadow(partition))
        ]
        key = names.doomed(partition)
        found = await self._call(lambda: self._client.zrange(key, 0, -1, withscores=True), key)
        return Overview(live, shadow, {int(number): int(at) for number, at in found})

    async def keep(self, partition: int, generation: int, until: int) -> None:
        """Put off the removal of a doomed generation."""
        key = names.doomed(partition)
        await self._call(lambda: self._client.zadd(key, {str(generation): until}, xx=True), key)

    async def discard(self, partition: int) -> None:
        """Leave the shadow to be removed at once."""
        await self._script(_discard, [names.shadow(partition), names.doomed(partition)], [])

    @reads
    async def swap(
        self, partition: int, generation: int, now: int, over: Fence | None = None
    ) -> Swapped | Behind | Moved:
        """Make the shadow live, if it is counted at least as far; see `Generations`."""
        live = (await self.overview(partition)).live
        mine = Keys(partition, generation)
        keys = [
            mine.pointer, Keys(partition, live).head, names.shadow(partition), mine.head, names.doomed(partition),
        ]  # fmt: skip
        passed = ["", "", ""] if over is None else [over.log_id, over.position, over.fingerprint]
        arguments: list[Argument] = [live or "", generation, now + RETIRED_KEPT_MS, *passed]
        outcome, *fence = [part.decode() for part in await self._script(_swap, keys, arguments)]
        if outcome == "behind":
            return Behind(Fence(fence[0], int(fence[1]), fence[2]))
        return Swapped(generation) if outcome == "swapped" else Moved()

    @reads
    async def freeze(self, partition: int, until: int) -> Head | None:
        """Copy the live generation in one step, in which Redis serves nobody else: 13 ms for 65,000 rows (docs/upkeep.md)."""
        for _ in range(READ_TRIES):
            found = await self.overview(partition)
            if not found.live:
                return None
            live, copy = Keys(partition, found.live), Keys(partition, _next(found))
            sites, days = await self._members(live)
            pairs = zip(_all_keys(live, sites, days), _all_keys(copy, sites, days), strict=True)
            keys = [live.pointer, names.doomed(partition), live.sites, live.days, *chain(*pairs)]
            arguments: list[Argument] = [
                found.live, _next(found), until, len(sites), len(days), *sites, *days,
            ]  # fmt: skip
            if await self._script(_freeze, keys, arguments) == b"frozen":
                reply = await self._call(lambda key=copy.head: self._client.hgetall(key), copy.head)
                return batches.read_head(_next(found), list(chain(*reply.items())))
        raise StoreUnavailableError("sites or days were added each time the generation was copied")

    @reads
    async def sweep(self, partition: int, now: int) -> bool:
        """Remove a slice of what is doomed; see `Generations`."""
        key = names.doomed(partition)
        due = await self._call(
            lambda: self._client.zrangebyscore(key, "-inf", now, start=0, num=1), key
        )
        if not due:
            return False
        generation = int(due[0])
        keys = Keys(partition, generation)
        if await self._script(
            _condemn, [keys.pointer, names.shadow(partition), key], [generation]
        ) and await self._unlink_some(keys):
            return True
        await self._call(lambda: self._client.zrem(key, generation), key)
        return True

    @reads
    async def start_load(self, partition: int, now: int) -> int:
        """Make a shadow without a fence."""
        for _ in range(READ_TRIES):
            made = await self._make(partition, now + SHADOW_KEPT_MS, [])
            if made:
                return made
        raise StoreUnavailableError("the shadow moved while it was made")

    @reads
    async def finish_load(self, partition: int, generation: int, head: Head) -> None:
        """Give a loaded shadow its fence."""
        keys = Keys(partition, generation)
        asked = [names.shadow(partition), names.doomed(partition), keys.head]
        fields = batches.fields_of(head)
        if not await self._script(_finish, asked, [generation, *fields]):
            raise StoreUnavailableError(f"generation {generation} is no longer the shadow")

    async def replace_meta(self, meta: Meta) -> None:
        """Set what the store holds to."""
        fields = msgspec.structs.asdict(meta)
        await self._call(lambda: self._client.hset(names.META, mapping=fields), names.META)

    async def note_backup(self, at: int) -> None:
        """Note when the last backup was complete."""
        await self._call(lambda: self._client.set(names.BACKED_UP_AT, at), names.BACKED_UP_AT)

    @reads
    async def backed_up_at(self) -> int:
        """Return when the last backup was complete."""
        key = names.BACKED_UP_AT
        return int(await self._call(lambda: self._client.get(key), key) or 0)

    async def _make(self, partition: int, until: int, fields: Sequence[Argument]) -> int:
        """Make a shadow; a former one is left to be removed. Return its number, 0 where another one was made meanwhile."""
        found = await self.overview(partition)
        generation = _next(found)
        keys = Keys(partition, generation)
        asked = [keys.pointer, names.shadow(partition), names.doomed(partition), keys.head]
        before: list[Argument] = [found.live or "", found.shadow or ""]
        made = await self._script(_new_shadow, asked, [*before, generation, until, *fields])
        return generation if made else 0

    async def _unlink_some(self, keys: Keys) -> bool:
        """Remove some keys of a generation; claim that there are more."""
        days = await self._call(
            lambda: self._client.zrange(keys.days, 0, UNLINKED_AT_ONCE - 1), keys.days
        )
        if days:
            await self._unlink(_day_keys(keys, [member.decode() for member in days]))
            await self._call(lambda: self._client.zrem(keys.days, *days), keys.days)
            return True
        sites = await self._call(
            lambda: self._client.srandmember(keys.sites, SITES_AT_ONCE), keys.sites
        )
        if sites:
            await self._unlink(chain(*(_ever_of_site(keys, site.decode()) for site in sites)))
            await self._call(lambda: self._client.srem(keys.sites, *sites), keys.sites)
            return True
        await self._unlink([*keys.of_partition, f"{keys.prefix}:cursors"])
        return False

    async def _unlink(self, keys: Any) -> None:
        found = list(keys)
        await self._call(lambda: self._client.unlink(*found))


def _ever_of_site(keys: Keys, site: str) -> list[str]:
    """Return all keys of a site, by any schema: a generation of schema 1 is removed after a rebuild too."""
    return [*keys.of_site(site), f"{keys.prefix}:s:{site}"]


def _next(found: Overview) -> int:
    return 1 + max([found.live, found.shadow, *found.doomed])


def _all_keys(keys: Keys, sites: Sequence[str], days: Sequence[str]) -> list[str]:
    """Return every key of a generation there may be, the head first."""
    of_sites = chain(*(keys.of_site(site) for site in sites))
    return [*keys.of_partition, *of_sites, *_day_keys(keys, days)]


def _day_keys(keys: Keys, members: Sequence[str]) -> list[str]:
    parts = [member.rpartition(":") for member in members]
    return [keys.page_day(site, int(day)) for site, _, day in parts]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
