"""The tables of a generation in Redis as `generation.Table` knows them: how they are read on, looked up and loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import Any

from services.backends import redis_batch as batches
from services.backends.generation import ROWS_AT_ONCE, Rows, Table
from services.backends.redis import RedisStore
from services.backends.redis_key import Keys
from services.backends.redis_script import reads
from visits.state import Head


class RedisTables(RedisStore):
    """A store of which every generation can be read and a new one filled, table by table."""

    @reads
    async def sites(self, partition: int, generation: int) -> list[str]:
        """Return the sites with anything."""
        return sorted((await self._members(Keys(partition, generation)))[0])

    async def scan(
        self, partition: int, generation: int, table: Table, site: str
    ) -> AsyncIterator[dict[Any, Any]]:
        """Yield a table by HSCAN."""
        keys = Keys(partition, generation)
        if table is Table.SEEN:
            older, newer = await self._older_and_newer(keys, site)
            async for some in self._scan_hash(older):
                held = some | await self._fields(newer, list(some))
                yield {name: _value(table, value) for name, value in held.items()}
            async for some in self._scan_hash(newer):
                yield {name: _value(table, value) for name, value in some.items()}
            return
        if table is not Table.PAGE_DAYS:
            async for some in self._scan_hash(_key(keys, table, site)):
                yield {_name(table, name): _value(table, value) for name, value in some.items()}
            return
        for day in await self._days(keys):
            async for some in self._scan_hash(keys.page_day(site, day)):
                yield {(day, page.decode()): int(views) for page, views in some.items()}

    @reads
    async def look_up(
        self, partition: int, generation: int, table: Table, site: str, names: Sequence[Any]
    ) -> dict[Any, Any]:
        """Return the rows of some names."""
        if not names:
            return {}
        keys = Keys(partition, generation)
        if table is Table.PAGE_DAYS:
            found: dict[Any, Any] = {}
            for day, of_day in groupby(sorted(names), key=lambda name: name[0]):
                pages = [page for _day, page in of_day]
                values = await self._fields(keys.page_day(site, day), pages)
                found |= {(day, page): int(views) for page, views in values.items()}
            return found
        if table is Table.SEEN:
            older, newer = await self._older_and_newer(keys, site)
            values = await self._fields(older, names) | await self._fields(newer, names)
        else:
            values = await self._fields(_key(keys, table, site), names)
        return {name: _value(table, value) for name, value in values.items()}

    async def load(
        self, partition: int, generation: int, table: Table, site: str, rows: Rows, head: Head
    ) -> None:
        """Put rows into a shadow without a fence, with what Redis keeps beside: who is online, what is to be forgotten next."""
        keys = Keys(partition, generation)
        if table is Table.IDS:
            await self._load_ids(keys, rows)
            return
        await self._call(lambda: self._client.sadd(keys.sites, site), keys.sites)
        if table is Table.PAGE_DAYS:
            for day, some in groupby(sorted(rows.items()), key=lambda row: row[0][0]):
                views = {page: n for (_day, page), n in some}
                await self._put(keys.page_day(site, day), views)
                entry = {f"{site}:{day}": day}
                await self._call(lambda entry=entry: self._client.zadd(keys.days, entry), keys.days)
        elif table is Table.SEEN:
            await self._load_seen(keys, site, rows, head.log_time)
        else:
            await self._put(_key(keys, table, site), rows)

    async def _members(self, keys: Keys) -> tuple[list[str], list[str]]:
        """Return the sites, and the `SITE:DAY` of tables by day."""
        sites = await self._call(lambda: self._client.smembers(keys.sites), keys.sites)
        days = await self._call(lambda: self._client.zrange(keys.days, 0, -1), keys.days)
        return [site.decode() for site in sites], [member.decode() for member in days]

    async def _days(self, keys: Keys) -> list[int]:
        """Return the local days that have tables of any site."""
        members = await self._call(lambda: self._client.zrange(keys.days, 0, -1), keys.days)
        return sorted({int(member.decode().rpartition(":")[2]) for member in members})

    async def _scan_hash(self, key: str) -> AsyncIterator[dict[bytes, bytes]]:
        cursor = 0
        while True:
            cursor, found = await self._call(
                lambda at=cursor: self._client.hscan(key, at, count=ROWS_AT_ONCE), key
            )
            if found:
                yield found
            if cursor == 0:
                return

    async def _fields(self, key: str, asked: Sequence[Any]) -> dict[Any, bytes]:
        found = await self._call(lambda: self._client.hmget(key, list(asked)), key)
        return {name: v for name, v in zip(asked, found, strict=True) if v is not None}

    async def _put(self, key: str, rows: Rows) -> None:
        await self._call(lambda: self._client.hset(key, mapping=dict(rows)), key)

    async def _load_seen(self, keys: Keys, site: str, rows: Rows, log_time: int) -> None:
        """Put readers into the first table of their pair; the second one is empty and has its turn once they are forgotten."""
        pair = keys.seen(site)
        await self._put(pair.first, {name: _moment(at) for name, at in rows.items()})
        turn = await self._call(lambda: self._client.hget(keys.turns, pair.turn), keys.turns)
        newest = max([batches.newest_of(turn), *rows.values()])
        put = {pair.turn: batches.turn_of(0, newest, log_time)}
        await self._call(lambda: self._client.hset(keys.turns, mapping=put), keys.turns)
        listed = {name: at for name, at in rows.items() if at > log_time - batches.ONLINE_KEPT_MS}
        if listed:
            online = keys.online(site)
            await self._call(lambda: self._client.zadd(online, listed), online)

    async def _load_ids(self, keys: Keys, rows: Rows) -> None:
        await self._put(keys.ids, {name: _moment(at) for name, at in rows.items()})
        queued = [
            batches.queued([name for name, _at in some], at)
            for at, some in groupby(rows.items(), key=lambda row: row[1])
        ]
        await self._call(lambda: self._client.rpush(keys.id_queue, *queued), keys.id_queue)


def _key(keys: Keys, table: Table, site: str) -> str:
    if table is Table.IDS:
        return keys.ids
    return {
        Table.COUNTERS: keys.counters,
        Table.PAGES: keys.pages,
        Table.BOOKS: keys.books,
        Table.LEDGER: keys.ledger,
    }[table](site)


def _name(table: Table, name: bytes) -> str | bytes:
    return name if table in {Table.SEEN, Table.IDS} else name.decode()


def _value(table: Table, value: bytes) -> int | bytes:
    if table in {Table.SEEN, Table.IDS}:
        return int.from_bytes(value, "big")
    return value if table is Table.LEDGER else int(value)


def _moment(at: int) -> bytes:
    return at.to_bytes(batches.MOMENT_BYTES, "big")
