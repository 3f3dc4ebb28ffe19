"""The counter store on Redis, single server or Cluster (DESIGN 3.6).

Everything that must agree happens in one script: the state read with its fence, the apply under its fence. Reads and writes go to
the primary; a promoted replica or a restored snapshot is a rollback, and the fence finds it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import msgspec
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoPermissionError, RedisClusterException, RedisError

from services.backends import redis_batch as batches
from services.backends import redis_key as names
from services.backends.port import Account, Applied, Miss, Reading
from services.backends.redis_connection import connect
from services.backends.redis_key import Keys
from services.backends.redis_script import (
    BEGIN,
    META,
    TOUCH,
    Argument,
    Script,
    is_wrong_type,
    packaged,
    reads,
    translate,
    wrong_type,
)
from visits.errors import PartitionStoppedError, SettingsError, StoppedState, StoreUnavailableError
from visits.fence import Fence
from visits.page import OTHER
from visits.state import Batch, Head, Meta, Parameters, State, Wanted

if TYPE_CHECKING:
    from services.backends.redis_generation import RedisGenerations

SALT_KEPT = timedelta(hours=24 + 12 + 48)
"""A salt lives from its date's UTC midnight until 48 h after the date has ended everywhere: last at UTC-12 (DESIGN 3.5)."""

# The cluster client's own error is no RedisError: no node of the URL answers, or a slot has no server.
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)

REDIS_SCHEMA = 2
"""Version of the keys' layout. 1: the readers of a site in one table."""

READ_TRIES = 3
SWEPT_MAX = 500
SCANNED_AT_ONCE = 2_000

APPLY = packaged("apply.lua")
READ = packaged("read.lua")
_begin, _touch, _meta = Script(BEGIN), Script(TOUCH), Script(META)
_encoder = msgspec.json.Encoder()


class RedisStore:
    """Counters and the fold's state in Redis."""

    schema = REDIS_SCHEMA
    keys_of: type[Keys] = Keys

    def __init__(self, url: str) -> None:
        """Take the URL: `redis://`, `rediss://` or `redis-cluster://host:port,host:port`."""
        self._url = url
        self._client: Any = None
        self._generations: dict[int, int] = {}
        self._rewritten_for = ""

    async def open(self) -> Self:
        """Connect and check that the server never evicts; see the port."""
        if self._client is None:
            self._client = connect(self._url)
        await self.ping()
        await self._check_policy()
        return self

    @reads
    async def meta(self) -> Meta | None:
        """Return what the store holds to."""
        reply = await self._call(lambda: self._client.hgetall(names.META), names.META)
        return (
            _read_meta({key.decode(): value.decode() for key, value in reply.items()})
            if reply
            else None
        )

    @reads
    async def put_meta(self, meta: Meta) -> Meta:
        """Set the meta once."""
        fields: list[Argument] = []
        for name, value in msgspec.structs.asdict(meta).items():
            fields += [name, value]
        reply = await self._script(_meta, [names.META], fields)
        return _read_meta(
            {reply[i].decode(): reply[i + 1].decode() for i in range(0, len(reply), 2)}
        )

    @reads
    async def begin(self, partition: int, log_id: str, parameters: Parameters) -> Head:
        """Make the first generation if there is none; a pointer without a head is passed over, never filled again."""
        shadow, doomed = names.shadow(partition), names.doomed(partition)
        for _ in range(READ_TRIES):
            found = await self._call(
                lambda: self._client.get(names.pointer(partition)), names.pointer(partition)
            )
            head = await self.head(partition)
            if head is not None:
                return head
            # What a rebuild fills, or left, keeps its number also when the store was emptied under it.
            others = await self._call(lambda: self._client.zrange(doomed, 0, -1), doomed)
            generation = 1 + max(int(found or 0), *map(int, others), 0)
            keys = self.keys_of(partition, generation)
            asked = [keys.pointer, keys.head, shadow, doomed]
            fields = batches.head_fields(log_id, parameters)
            await self._script(_begin, asked, [found or "", generation, *fields])
        msg = "the live generation moved while the first one was made"
        raise StoreUnavailableError(msg)

    @reads
    async def head(self, partition: int) -> Head | None:
        """Return the live head."""
        answer = await self._read(partition, batches.Call)
        return None if answer is None else answer[0]

    @reads
    async def read_state(self, partition: int, generation: int, wanted: Wanted) -> State | None:
        """Read everything wanted and the head in one step."""
        days = range(0)
        if wanted.whole_pages:
            head = await self.head(partition)
            days = range(0) if head is None else batches.kept_days(head)
        call = batches.state_call(self.keys_of(partition, generation), generation, wanted, days)
        reply = await self._script(READ, call.keys, call.arguments)
        head = batches.read_head(generation, reply[1])
        return None if head is None else batches.read_state(head, wanted, days, reply[2:])

    @reads
    async def apply(self, partition: int, batch: Batch) -> Applied | Miss:
        """Apply a batch under its fence in one step."""
        keys = self.keys_of(partition, batch.generation)
        call = batches.apply_call(keys, batch)
        answer = _answer(await self._script(APPLY, call.keys, call.arguments))
        if isinstance(answer, Applied) and batch.page_days:
            await self._sweep(keys, batch.page_days_before)
        return answer

    @reads
    async def touch(
        self, partition: int, generation: int, fence: Fence, as_of: int
    ) -> Applied | Miss:
        """Say that the numbers at a fence hold for a moment."""
        keys = self.keys_of(partition, generation)
        arguments: list[Argument] = [
            generation,
            fence.log_id,
            fence.position,
            fence.fingerprint,
            as_of,
        ]
        return _answer(await self._script(_touch, [keys.pointer, keys.head], arguments))

    @reads
    async def read_counters(
        self, partition: int, site: str, fields: Sequence[str], online_after: int, online_until: int
    ) -> Reading | None:
        """Read counters and who was seen, in one step with the head."""

        def ask(keys: Keys, generation: int) -> batches.Call:
            call = batches.Call(keys, generation)
            call.add("fields", keys.counters(site), fields)
            call.add("zcount", keys.online(site), [f"({online_after}", online_until])
            return call

        answer = await self._read(partition, ask)
        if answer is None:
            return None
        head, (values, online) = answer
        found = tuple(int(value or 0) for value in chain.from_iterable(values))
        return _reading(head, found, online=online)

    @reads
    async def read_pages(self, partition: int, site: str, pages: Sequence[str]) -> Reading | None:
        """Read the views in all of some pages."""

        def ask(keys: Keys, generation: int) -> batches.Call:
            call = batches.Call(keys, generation)
            call.add("fields", keys.pages(site), [*pages, OTHER])
            return call

        answer = await self._read(partition, ask)
        if answer is None:
            return None
        head, (values,) = answer
        found = tuple(
            None if value is None else int(value) for value in chain.from_iterable(values)
        )
        return _reading(head, found[:-1], has_other=bool(found[-1]))

    @reads
    async def read_ledger(self, partition: int, site: str) -> list[bytes]:
        """Return the ledger's entries."""
        reply = await self._table(partition, lambda keys: keys.ledger(site))
        return reply[1::2]

    @reads
    async def read_books(self, partition: int, site: str) -> dict[str, int]:
        """Return a site's books."""
        return batches.amounts_of(await self._table(partition, lambda keys: keys.books(site)))

    def scan_pages(
        self, partition: int, site: str, day: int | None
    ) -> AsyncIterator[dict[str, int]]:
        """Yield the views of every page."""
        return self._scan(
            partition, lambda keys: keys.pages(site) if day is None else keys.page_day(site, day)
        )

    def scan_counters(self, partition: int, site: str) -> AsyncIterator[dict[str, int]]:
        """Yield all counters."""
        return self._scan(partition, lambda keys: keys.counters(site))

    @reads
    async def read_account(
        self, partition: int, site: str, fields: Sequence[str]
    ) -> Account | None:
        """Return some counters with all books and the ledger."""

        def ask(keys: Keys, generation: int) -> batches.Call:
            call = batches.Call(keys, generation)
            call.add("fields", keys.counters(site), fields)
            call.add("hgetall", keys.books(site))
            call.add("hgetall", keys.ledger(site))
            return call

        answer = await self._read(partition, ask)
        if answer is None:
            return None
        head, (counters, books, ledger) = answer
        found = batches.read_amounts(fields, counters)
        return Account(head, found, batches.amounts_of(books), ledger[1::2])

    async def put_salt(self, day: str, salt: bytes) -> bytes:
        """Keep a salt if there is none for its date."""
        until = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + SALT_KEPT
        if until.timestamp() > time.time():
            await self._call(lambda: self._client.set(names.salt(day), salt, nx=True, pxat=until))
        return (await self.salts([day])).get(day, salt)

    async def salts(self, days: Sequence[str]) -> dict[str, bytes]:
        """Return the salts there are."""
        found = {
            day: await self._call(
                lambda day=day: self._client.get(names.salt(day)), names.salt(day)
            )
            for day in days
        }
        return {day: salt for day, salt in found.items() if salt is not None}

    async def forget_salts(self, before: str) -> None:
        """Destroy old salts; once a date the append-only file is rewritten, so that none stays on disk."""
        last = date.fromisoformat(before)
        for back in range(1, 15):
            await self._call(
                lambda back=back: self._client.delete(
                    names.salt((last - timedelta(days=back)).isoformat())
                )
            )
        if self._rewritten_for != before:
            self._rewritten_for = before
            is_single = isinstance(self._client, Redis)
            everywhere = {} if is_single else {"target_nodes": self._client.get_nodes()}
            try:
                await self._client.execute_command("BGREWRITEAOF", **everywhere)
            except FAILURES:
                # Not permitted, or one is under way: the server's own rewrite does it later.
                return

    async def ping(self) -> None:
        """Answer quickly."""
        await self._call(self._client.ping)

    async def dump(self, partition: int) -> dict[str, object]:
        """Return everything of the live generation."""
        head = await self.head(partition)
        if head is None:
            return {}
        keys = self.keys_of(partition, head.generation)
        sites = sorted(
            site.decode() for site in await self._call(lambda: self._client.smembers(keys.sites))
        )
        tables: dict[str, Any] = {
            name: {} for name in ("counters", "pages", "page_days", "books", "ledger", "seen")
        }
        for site in sites:
            for name in ("counters", "pages", "books"):
                tables[name][site] = await self._hash(getattr(keys, name)(site), int)
            tables["ledger"][site] = await self._hash(keys.ledger(site), bytes)
            by_day = {
                day: await self._hash(keys.page_day(site, day), int)
                for day in batches.kept_days(head)
            }
            tables["page_days"][site] = {day: amounts for day, amounts in by_day.items() if amounts}
            oldest = head.log_time - head.parameters.seen_ms
            tables["seen"][site] = _since(await self._seen(keys, site), oldest)
        known_after = head.id_window.known_after(head.log_time, head.parameters)
        return {
            name: {site: table for site, table in by_site.items() if table}
            for name, by_site in tables.items()
        } | {
            "ids": _since(
                await self._call(lambda: self._client.hgetall(keys.ids), keys.ids), known_after + 1
            ),
            "fence": head.fence,
            "log_time": head.log_time,
            "id_window": head.id_window,
        }

    def generations(self) -> RedisGenerations:
        """Return the generations beside the live one."""
        from services.backends.redis_generation import RedisGenerations  # noqa: PLC0415  # the other way round too

        return RedisGenerations(self._url, self._client)

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.aclose()
            except FAILURES:
                return

    async def _sweep(self, keys: Keys, before: int) -> None:
        """Remove views by page of forgotten days: housekeeping, outside the fence; readers pass over them anyway."""
        old = await self._call(
            lambda: self._client.zrangebyscore(
                keys.days, "-inf", f"({before}", start=0, num=SWEPT_MAX
            )
        )
        for member in old:
            site, _, day = member.decode().rpartition(":")
            await self._call(
                lambda site=site, day=day: self._client.unlink(keys.page_day(site, int(day)))
            )
        if old:
            await self._call(lambda: self._client.zrem(keys.days, *old), keys.days)

    async def _read(self, partition: int, ask: Any) -> tuple[Head, list[Any]] | None:
        """Ask the live generation, wherever the pointer has moved to; `None` where there is none."""
        generation = self._generations.get(partition, 1)
        for _ in range(READ_TRIES):
            call = ask(self.keys_of(partition, generation), generation)
            reply = await self._script(READ, call.keys, call.arguments)
            live = int(reply[0])
            if live == generation:
                self._generations[partition] = generation
                head = batches.read_head(generation, reply[1])
                return None if head is None else (head, reply[2:])
            if live == 0:
                return None
            generation = live
        msg = "the live generation moved while it was read"
        raise StoreUnavailableError(msg)

    async def _scan(
        self, partition: int, key: Callable[[Keys], str]
    ) -> AsyncIterator[dict[str, int]]:
        """Yield a table of the live generation by HSCAN (https://redis.io/docs/latest/commands/scan/)."""
        head = await self.head(partition)
        if head is None:
            return
        name, cursor = key(self.keys_of(partition, head.generation)), 0
        while True:
            cursor, found = await self._scan_on(name, cursor)
            yield found
            if cursor == 0:
                return

    @reads
    async def _scan_on(self, name: str, cursor: int) -> tuple[int, dict[str, int]]:
        """Return the next cursor, and some of a hash."""
        following, found = await self._call(
            lambda: self._client.hscan(name, cursor, count=SCANNED_AT_ONCE), name
        )
        return following, {field.decode(): int(amount) for field, amount in found.items()}

    async def _table(self, partition: int, key: Any) -> list[bytes]:
        """Return HGETALL's reply of one table of the live generation."""

        def ask(keys: Keys, generation: int) -> batches.Call:
            call = batches.Call(keys, generation)
            call.add("hgetall", key(keys))
            return call

        answer = await self._read(partition, ask)
        return [] if answer is None else answer[1][0]

    async def _hash(self, key: str, kind: Any) -> dict[str, Any]:
        reply = await self._call(lambda: self._client.hgetall(key), key)
        return {field.decode(): kind(value) for field, value in reply.items()}

    async def _seen(self, keys: Keys, site: str) -> dict[bytes, bytes]:
        """Return the moments of all readers of a site: what is written now holds over what was written before."""
        found: dict[bytes, bytes] = {}
        for key in await self._older_and_newer(keys, site):
            found |= await self._call(lambda key=key: self._client.hgetall(key), key)
        return found

    async def _older_and_newer(self, keys: Keys, site: str) -> tuple[str, str]:
        """Return the tables of a site's readers: the one that is only read, and the one that is written."""
        pair = keys.seen(site)
        turn = await self._call(lambda: self._client.hget(keys.turns, pair.turn), keys.turns)
        return pair.tables if turn and turn[0] else (pair.second, pair.first)

    async def _check_policy(self) -> None:
        """Refuse a server that would throw counters away for want of memory.

        Raises:
            SettingsError: naming the setting and the mend.
        """
        is_single = isinstance(self._client, Redis)
        try:
            if is_single:
                answers = [await self._client.info("memory")]
            else:
                found = await self._client.info("memory", target_nodes=RedisCluster.PRIMARIES)
                # One primary answers by itself, several by node.
                answers = [found] if "maxmemory_policy" in found else list(found.values())
        except NoPermissionError:
            # Managed servers may forbid INFO; then the operator's word must do.
            return
        except FAILURES as error:
            raise translate(error) from error
        for answer in answers:
            policy = answer.get("maxmemory_policy", "noeviction")
            if policy != "noeviction":
                msg = f"Redis has maxmemory-policy {policy}, which throws counters away: set it to noeviction"
                raise SettingsError(msg)

    async def _script(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        return await self._call(lambda: script(self._client, keys, arguments), *keys)

    async def _call(self, command: Any, *keys: str) -> Any:
        """Run one command on some keys.

        Raises:
            StoreUnavailableError: not connected, no answer, or an answer that says to try again.
            PartitionStoppedError: a wrong type.
        """
        if self._client is None:
            msg = "Redis: not connected"
            raise StoreUnavailableError(msg)
        try:
            return await command()
        except FAILURES as error:
            if is_wrong_type(error):
                kinds = [
                    (key, await self._call(lambda key=key: self._client.type(key))) for key in keys
                ]
                raise wrong_type(kinds) from error
            raise translate(error) from error


def _read_meta(fields: dict[str, str]) -> Meta:
    return msgspec.convert(fields, Meta, strict=False)


def _answer(reply: list[bytes]) -> Applied | Miss:
    """Read the answer of apply and touch.

    Raises:
        PartitionStoppedError: `store_corrupt`.
    """
    outcome, *rest = [part.decode("utf-8", "replace") for part in reply]
    if outcome == "applied":
        return Applied()
    if outcome == "already":
        return Applied(already=True)
    if outcome == "corrupt":
        raise PartitionStoppedError(StoppedState.STORE_CORRUPT, " ".join(rest))
    generation, *fence = rest
    stored = Fence(fence[0], int(fence[1]), fence[2]) if fence else None
    return Miss(stored, int(generation))


def _since(moments: dict[bytes, bytes], earliest: int) -> dict[str, int]:
    """Return the members by their digits, without what is forgotten."""
    found = {member.hex(): int.from_bytes(value, "big") for member, value in moments.items()}
    return {member: at for member, at in found.items() if at >= earliest}


def _reading(
    head: Head, values: tuple[int | None, ...], *, online: int = 0, has_other: bool = False
) -> Reading:
    return Reading(
        head.fence.position,
        head.fence.log_id,
        head.generation,
        head.as_of,
        values,
        online,
        has_other,
        head.parameters.bucket_minutes,
    )
