"""The laws of `CounterStore`, each written once and run on every store."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from services.aggregator.ahead import until_sent
from services.backends.port import Applied, CounterStore, Miss
from services.backends.redis import RedisStore
from tests.support.dictstore import LOG_ID, DictStore
from tests.support.logs import NOON, as_log, logs, view
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.redis import RedisCluster, RedisServer
from visits.codec import LogRecord, decode_batch
from visits.counters import DAY_MS
from visits.errors import (
    PartitionStoppedError,
    SettingsError,
    StoppedState,
    StoreUnavailableError,
)
from visits.fence import Fence
from visits.fold import fold, wanted
from visits.state import FOLD_VERSION, SCHEMA, Batch, Meta, Parameters, Wanted

SMALL = Parameters(pages_max=3, ids_max=8)
LOG = as_log(
    [
        view(NOON + n, id=f"event-{n:03d}", page=f"/{n % 3}", visitor=f"{n % 4:016x}")
        for n in range(20)
    ]
)


async def decide(store: CounterStore, log: list[LogRecord], partition: int = 0) -> Batch:
    """Fold records against the store's present state."""
    head = await store.head(partition)
    assert head is not None
    decoded = decode_batch(log, 0, 1)
    state = await store.read_state(
        partition, head.generation, wanted(decoded.records, head.parameters)
    )
    assert state is not None
    return fold(decoded, state)


async def scanned(store: CounterStore, day: int | None = None) -> dict[str, int]:
    """Return the views of all pages of site `a`."""
    found: dict[str, int] = {}
    async for some in store.scan_pages(0, "a", day):
        found |= some
    return found


def comparable(dump: dict[str, Any]) -> dict[str, Any]:
    """Leave out empty tables of a site, which are no state."""
    sited = ("counters", "pages", "page_days", "books", "ledger", "seen")
    return {n: {s: v for s, v in t.items() if v} if n in sited else t for n, t in dump.items()}


def expected(model: DictStore) -> dict[str, Any]:
    """Return the model's state in the form of `dump`."""
    found = model.dump()
    head = found.pop("head")
    found["ids"] = {key.hex(): at for key, at in found["ids"].items()}
    found["seen"] = {s: {v.hex(): at for v, at in t.items()} for s, t in found["seen"].items()}
    days = found["page_days"].items()
    found["page_days"] = {s: kept for s, t in days if (kept := {d: p for d, p in t.items() if p})}
    return comparable(
        found | {"fence": head.fence, "log_time": head.log_time, "id_window": head.id_window}
    )


async def test_begin_makes_a_generation_once(store: CounterStore) -> None:
    """A second begin returns the first one's head, whatever it was asked for."""
    assert await store.head(0) is None
    first = await store.begin(0, LOG_ID, SMALL)
    assert first.fence == Fence(LOG_ID, 0, "")
    assert first.parameters == SMALL
    assert await store.begin(0, "another", Parameters()) == first


async def test_a_batch_applies_once_and_then_answers_already(store: CounterStore) -> None:
    """A repetition after a lost reply changes nothing and is no miss."""
    await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    assert await store.apply(0, batch) == Applied()
    before = await store.dump(0)
    assert await store.apply(0, batch) == Applied(already=True)
    assert await store.dump(0) == before


@pytest.mark.parametrize(
    "change",
    [{"position": 3}, {"log_id": "another"}, {"fingerprint": "0" * 32}],
    ids=["position", "log id", "fingerprint"],
)
async def test_another_fence_is_a_miss_that_changes_nothing(
    store: CounterStore, change: dict[str, Any]
) -> None:
    """Position, log and fingerprint must all be equal."""
    await store.begin(0, LOG_ID, SMALL)
    await store.apply(0, await decide(store, LOG[:10]))
    batch = await decide(store, LOG[10:])
    batch.before = msgspec.structs.replace(batch.before, **change)
    before = await store.dump(0)
    answer = await store.apply(0, batch)
    assert isinstance(answer, Miss)
    assert answer.stored == before["fence"]
    assert await store.dump(0) == before


async def test_another_generation_is_a_miss(store: CounterStore) -> None:
    """What was decided for a generation that is not live changes nothing."""
    await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    batch.generation += 1
    assert isinstance(await store.apply(0, batch), Miss)
    assert await store.read_state(0, batch.generation, wanted([], SMALL)) is None


async def test_other_parameters_are_a_miss_or_a_new_generation(store: CounterStore) -> None:
    """A batch decided by other rules never enters a generation (the model's row V)."""
    await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    batch.parameters = Parameters(pages_max=4)
    before = await store.dump(0)
    with contextlib.suppress(PartitionStoppedError):
        assert isinstance(await store.apply(0, batch), Miss)
    assert await store.dump(0) == before


async def test_touch_is_fenced_and_never_goes_back(store: CounterStore) -> None:
    """The moment the numbers hold for moves under the same fence, forward only."""
    head = await store.begin(0, LOG_ID, SMALL)
    assert await store.touch(0, head.generation, head.fence, 500) == Applied()
    assert await store.touch(0, head.generation, head.fence, 400) == Applied()
    found = await store.head(0)
    assert found is not None
    assert found.as_of == 500
    assert isinstance(await store.touch(0, head.generation, Fence(LOG_ID, 1, "x"), 900), Miss)


async def test_apply_never_takes_a_touch_back(store: CounterStore) -> None:
    """A touch between decision and apply keeps its later moment."""
    head = await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    assert await store.touch(0, head.generation, head.fence, NOON * 2) == Applied()
    assert await store.apply(0, batch) == Applied()
    found = await store.head(0)
    assert found is not None
    assert found.as_of == NOON * 2


async def test_meta_and_salts_are_set_once(store: CounterStore) -> None:
    """The first one stays; salts before a date are destroyed."""
    assert await store.meta() is None
    meta = Meta(SCHEMA, LOG_ID, 4, 60, FOLD_VERSION)
    assert await store.put_meta(meta) == meta
    assert (
        await store.put_meta(Meta(SCHEMA, "another", 8, 30, FOLD_VERSION))
        == meta
        == await store.meta()
    )
    days = ["2999-01-01", "2999-01-02"]
    assert await store.put_salt(days[0], b"\x00\xff" * 16) == b"\x00\xff" * 16
    assert await store.put_salt(days[0], b"other") == b"\x00\xff" * 16
    await store.put_salt(days[1], b"s")
    await store.forget_salts(days[1])
    assert await store.salts(days) == {days[1]: b"s"}


async def test_readers_read_what_was_applied(store: CounterStore) -> None:
    """Counters, pages, online at its edges, books; a page that is not there is none."""
    assert await store.read_counters(0, "a", ["v"], 0, 1) is None
    await store.begin(0, LOG_ID, SMALL)
    await store.apply(0, await decide(store, LOG))
    reading = await store.read_counters(0, "a", ["v", "s", "p", "vb1"], NOON + 17, NOON + 19)
    assert reading is not None
    assert (reading.values, reading.online, reading.head_position) == ((20, 4, 4, 0), 2, 20)
    pages = await store.read_pages(0, "a", ["/0", "/never"])
    assert pages is not None
    assert (pages.values, pages.has_other) == ((7, None), False)
    assert (await store.read_books(0, "a"))["counted"] == 20
    assert await scanned(store) == {"/0": 7, "/1": 7, "/2": 6}


async def test_the_state_read_is_what_was_applied(store: CounterStore) -> None:
    """All that a batch set is read back in one step, and nothing for what is not there."""
    head = await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    await store.apply(0, batch)
    ids, seen = list(batch.ids), list(batch.seen["a"])
    asked = Wanted(
        ids=[*ids, b"\xff" * 8],
        seen={"a": [*seen, b"\xff" * 8]},
        pages={"a": ["/0", "/never"]},
        deltas={"a": ["delta-of-nobody"]},
        counters={"a": ["v", "never"]},
    )
    state = await store.read_state(0, head.generation, asked)
    assert state is not None
    assert state.head == await store.head(0)
    assert state.head.fence == batch.after
    known_after = batch.ids_known_after
    assert {k: at for k, at in state.ids.items() if at > known_after} == {
        k: at for k, at in batch.ids.items() if at > known_after
    }
    assert b"\xff" * 8 not in state.ids
    assert state.seen == {"a": batch.seen["a"]}
    assert (state.pages, state.page_counts) == ({"a": {"/0": 7}}, {"a": 3})
    assert not state.deltas.get("a")
    assert state.counters == {"a": {"v": 20}}


async def test_nothing_added_makes_the_field_and_negative_amounts_subtract(
    store: CounterStore,
) -> None:
    """An amount of 0 leaves a field of 0, so that how a log is cut shows nowhere."""
    await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    batch.counters = {"a": {"zero": 0, "less": -5}}
    batch.pages = {"a": {"/zero": 0}}
    assert await store.apply(0, batch) == Applied()
    dump: Any = await store.dump(0)
    assert dump["counters"] == {"a": {"zero": 0, "less": -5}}
    assert dump["pages"] == {"a": {"/zero": 0}}


async def test_a_page_gone_and_counted_in_one_step_begins_anew(store: CounterStore) -> None:
    """Removal comes before adding, in all and by day."""
    await store.begin(0, LOG_ID, SMALL)
    await store.apply(0, await decide(store, LOG[:10]))
    batch = await decide(store, LOG[10:])
    day = next(iter(batch.page_days["a"]))
    batch.pages_gone = {"a": ["/0", "/1"]}
    batch.page_days_gone = {"a": {day: ["/0", "/1"]}}
    batch.pages = {"a": {"/0": 1, "/2": 1}}
    batch.page_days = {"a": {day: {"/0": 1, "/2": 1}}}
    assert await store.apply(0, batch) == Applied()
    assert await scanned(store) == {"/0": 1, "/2": 4}
    assert await scanned(store, day) == {"/0": 1, "/2": 4}


@pytest.mark.parametrize("seed", range(12))
async def test_every_store_holds_what_the_model_holds(store: CounterStore, seed: int) -> None:
    """Long drawn logs, cut at random, leave the same state in the store as in plain dictionaries."""
    rng = random.Random(seed)
    log = _draw(seed)
    model = DictStore(SMALL)
    await store.begin(0, LOG_ID, SMALL)
    at = 0
    while at < len(log):
        end = min(len(log), at + rng.randint(1, 12))
        assert await store.apply(0, await decide(store, log[at:end])) == Applied()
        at = end
    model.run(log, [])
    assert comparable(await store.dump(0)) == expected(model)


def _draw(seed: int) -> list[LogRecord]:
    """Draw one log from the strategy, repeatably."""
    found: list[list[LogRecord]] = []

    @settings(max_examples=30, database=None, derandomize=True, deadline=None)
    @given(logs(size_max=60))
    def collect(log: list[LogRecord]) -> None:
        found.append(log)

    collect()
    return sorted(found, key=len, reverse=True)[seed]


async def test_a_lost_script_cache_goes_unnoticed(
    redis_store: CounterStore, redis_server: RedisServer
) -> None:
    """A server that forgot the scripts is told them again."""
    await redis_store.begin(0, LOG_ID, SMALL)
    with redis_server.client() as client:
        client.script_flush()
    assert await redis_store.apply(0, await decide(redis_store, LOG)) == Applied()


@pytest.mark.parametrize("planted", ["list on counters", "text in a counter", "string on seen"])
async def test_a_wrong_type_stops_before_anything_is_written(
    redis_store: CounterStore, redis_server: RedisServer, planted: str
) -> None:
    """A key of another type is the state store_corrupt; after its removal the same batch applies."""
    await redis_store.begin(0, LOG_ID, SMALL)
    batch = await decide(redis_store, LOG)
    with redis_server.client() as client:
        keys = {
            "list on counters": "vc:{0}:g1:c:a",
            "text in a counter": "vc:{0}:g1:c:a",
            "string on seen": "vc:{0}:g1:s:a:1",
        }
        key = keys[planted]
        if planted.startswith("list"):
            client.rpush(key, "x")
        elif planted.startswith("text"):
            client.hset(key, "v", "many")
        else:
            client.set(key, "x")
        before = {k: client.dump(k) for k in sorted(client.keys("*"))}
        with pytest.raises(PartitionStoppedError) as caught:
            await redis_store.apply(0, batch)
        assert caught.value.state is StoppedState.STORE_CORRUPT
        assert key in str(caught.value)
        assert {k: client.dump(k) for k in sorted(client.keys("*"))} == before
        client.delete(key)
    assert await redis_store.apply(0, batch) == Applied()


async def test_a_server_that_evicts_is_refused(redis_own: RedisServer) -> None:
    """A policy that throws counters away stops the start with the setting and the mend."""
    store = RedisStore(redis_own.url)
    with redis_own.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(SettingsError, match=r"allkeys-lru.*noeviction"):
            await store.open()
        client.config_set("maxmemory-policy", "noeviction")
        client.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "+@all", "-info")
    await store.close()
    plain = RedisStore(redis_own.url.replace("redis://", "redis://plain:word@"))
    await plain.open()
    await plain.close()


async def test_memory_that_is_full_changes_nothing(redis_own: RedisServer) -> None:
    """Redis refuses before the first write; the same batch applies once there is room."""
    store = RedisStore(redis_own.url)
    await store.open()
    await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    before = await store.dump(0)
    with redis_own.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            await store.apply(0, batch)
        assert await store.dump(0) == before
        client.config_set("maxmemory", 0)
    assert await store.apply(0, batch) == Applied()
    await store.close()


async def test_a_cluster_holds_the_same_state(redis_cluster: RedisCluster) -> None:
    """Every key of a partition lies in one slot; a node named in the URL may be away."""
    others = redis_cluster.url.removeprefix("redis-cluster://")
    store = RedisStore(f"redis-cluster://127.0.0.1:1,{others}")
    await store.open()
    try:
        for partition in range(4):
            await store.begin(partition, LOG_ID, SMALL)
            batch = await decide(store, LOG, partition)
            assert await store.apply(partition, batch) == Applied()
            assert await store.apply(partition, batch) == Applied(already=True)
            model = DictStore(SMALL)
            model.run(LOG, [])
            assert comparable(await store.dump(partition)) == expected(model)
        assert await store.put_salt("2999-01-01", b"s") == b"s"
        await store.forget_salts("2999-01-02")
        assert await store.salts(["2999-01-01"]) == {}
    finally:
        await store.close()


@pytest.mark.parametrize("scheme", ["redis", "redis-cluster"])
async def test_a_server_that_is_away_is_unavailable(scheme: str) -> None:
    """Whatever the client raises, a store that does not answer may be tried again."""
    store = RedisStore(f"{scheme}://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailableError):
        await store.open()
    await store.close()


async def test_views_by_page_of_forgotten_days_leave_the_server(
    redis_store: CounterStore, redis_server: RedisServer
) -> None:
    """Nothing expires by a clock: log time moves on, and the tables of old days go."""
    await redis_store.begin(0, LOG_ID, SMALL)
    old, new = NOON, NOON + (SMALL.page_days + 2) * DAY_MS
    log = as_log([view(at, id=f"event-{at}", page="/0") for at in (old, new)])
    for record in log:
        assert await redis_store.apply(0, await decide(redis_store, [record])) == Applied()
    with redis_server.client() as client:
        assert client.keys("vc:{0}:g1:d:*") == [b"vc:{0}:g1:d:a:%d" % (new // DAY_MS)]


async def test_every_page_is_scanned_some_at_a_time(store: CounterStore) -> None:
    """No page is left out, however many there are, and no site's pages are another's."""
    assert await scanned(store) == {}
    await store.begin(0, LOG_ID, Parameters())
    batch = await decide(store, LOG)
    day = NOON // DAY_MS
    wished = {f"/bài-{n}": n + 1 for n in range(5_000)}
    batch.pages = {"a": wished, "b": {"/of-b": 7}}
    batch.page_days = {"a": {day: wished}}
    assert await store.apply(0, batch) == Applied()
    assert await scanned(store) == wished
    assert await scanned(store, day) == wished
    assert await scanned(store, day + 1) == {}


async def test_an_account_is_of_one_moment_and_one_site(store: CounterStore) -> None:
    """Head, the counters asked for that are there, all books and the ledger; and all counters by a scan."""
    assert await store.read_account(0, "a", ["v"]) is None
    await store.begin(0, LOG_ID, SMALL)
    batch = await decide(store, LOG)
    batch.counters["b"] = {"v": 7}
    batch.ledger = {"a": {"a-delta": b"{}"}, "b": {"another": b"[]"}}
    assert await store.apply(0, batch) == Applied()
    account = await store.read_account(0, "a", ["v", "absent"])
    assert account is not None
    assert account.head.fence == batch.after
    assert (account.counters, account.books) == ({"v": 20}, batch.books["a"])
    assert account.ledger == [b"{}"]
    scanned_counters: dict[str, int] = {}
    async for some in store.scan_counters(0, "a"):
        scanned_counters |= some
    assert scanned_counters == batch.counters["a"]


async def test_a_moment_moved_back_holds_over_the_later_one(store: CounterStore) -> None:
    """What was set last is read back, however often the tables of moments took turns meanwhile."""
    head = await store.begin(0, LOG_ID, SMALL)
    reader, others = b"reader-a", [b"%08d" % n for n in range(8)]
    later = NOON + SMALL.seen_ms + 2
    moments = [NOON, later, later - 5, later + 7, later - 7]
    log_times = [NOON, later, later + 1, later + 7, later + 8]
    log = as_log([view(id=f"event-{n:03d}") for n in range(len(moments))])
    for record, other, at, log_time in zip(log, others, moments, log_times, strict=False):
        batch = await decide(store, [record])
        batch.log_time, batch.seen = log_time, {"a": {reader: at, other: log_time}}
        assert await store.apply(0, batch) == Applied()
        state = await store.read_state(0, head.generation, Wanted(seen={"a": [reader, *others]}))
        assert state is not None
        assert state.seen["a"][reader] == at
        assert state.seen["a"][other] == log_time


async def test_forgotten_ids_and_readers_leave_the_server(
    redis_store: CounterStore, redis_server: RedisServer
) -> None:
    """Ids go with their batch; a table of readers is dropped whole once all in it is forgotten."""
    await redis_store.begin(0, LOG_ID, SMALL)
    step = SMALL.seen_ms // 4
    records = [view(NOON + n * step, id=f"event-{n:03d}", visitor=f"{n:016x}") for n in range(40)]
    for n, record in enumerate(as_log(records)):
        assert await redis_store.apply(0, await decide(redis_store, [record])) == Applied()
        with redis_server.client() as client:
            seen = sum(client.hlen(f"vc:{{0}}:g1:s:a:{side}") for side in (0, 1))
            assert client.hlen("vc:{0}:g1:ids") == client.llen("vc:{0}:g1:id-queue") == 1
        assert min(n + 1, 4) <= seen <= 10


async def test_an_id_remembered_again_outlives_its_first_time(store: CounterStore) -> None:
    """What is forgotten of an id is its first time; the second one is known for a whole window."""
    await store.begin(0, LOG_ID, SMALL)
    window, minute = SMALL.id_window_ms, 60_000
    # The first batch is forgotten only after the second one came: it reaches on to where its last record was received.
    first = [view(NOON, id="event-aaa"), view(NOON + 30 * minute, id="event-bbb")]
    second = [view(NOON + window + minute, id="event-aaa")]
    third = [view(NOON + window + 40 * minute, id="event-ccc")]
    last = [view(NOON + window + 50 * minute, id="event-aaa")]
    position = 0
    for records in (first, second, third, last):
        log = as_log(records, position)
        assert await store.apply(0, await decide(store, log)) == Applied()
        position += len(records)
    assert (await store.read_books(0, "a")) | {} == {
        "counted": 4, "duplicate": 1, "2026-11-24:counted": 4, "2026-11-24:duplicate": 1,
    }  # fmt: skip


async def test_a_question_leaves_within_a_few_turns_of_the_loop(
    redis_store: CounterStore, redis_server: RedisServer
) -> None:
    """What the aggregator asked has reached Redis when it turns to the next piece, with the loop standing still."""
    await redis_store.begin(0, LOG_ID, SMALL)
    with redis_server.client() as client:
        client.config_resetstat()
        asking = asyncio.ensure_future(redis_store.head(0))
        await until_sent()
        # This client blocks the loop: nothing leaves from now on that has not left.
        wait_until(
            lambda: "cmdstat_evalsha" in client.info("commandstats"),
            timeout_seconds=5,
            what="the question",
        )
    assert await asking is not None
