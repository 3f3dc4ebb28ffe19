"""The laws of generations beside the live one, each written once and run on every store."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.backends.generation import (
    RETIRED_KEPT_MS,
    SITE_TABLES,
    Behind,
    Generations,
    Moved,
    Swapped,
    Table,
)
from services.backends.port import Applied, CounterStore, Miss
from tests.contract.test_store_laws import LOG, SMALL, comparable, decide
from tests.support.dictstore import LOG_ID
from tests.support.logs import NOON, as_log, view
from visits.errors import StoreUnavailableError
from visits.fence import Fence
from visits.fold import wanted
from visits.state import FOLD_VERSION, SCHEMA, Head, Meta, Parameters

NOW = NOON + 3_600_000
ROUNDS_MAX = 50


async def fill(store: CounterStore, log: list[Any]) -> None:
    """Count records, making the generation where there is none."""
    await store.begin(0, LOG_ID, SMALL)
    assert await store.apply(0, await decide(store, log)) == Applied()


async def swept(generations: Generations, now: int) -> None:
    """Remove all that is due."""
    for _ in range(ROUNDS_MAX):
        if not await generations.sweep(0, now):
            return
    raise AssertionError("a removal does not end")


async def everything(generations: Generations, generation: int) -> dict[str, Any]:
    """Return all rows of a generation by table and site, as scanned."""
    found: dict[str, Any] = {"ids": {}}
    async for some in generations.scan(0, generation, Table.IDS, ""):
        found["ids"] |= some
    for site in await generations.sites(0, generation):
        for table in SITE_TABLES:
            async for some in generations.scan(0, generation, table, site):
                found.setdefault(f"{table} {site}", {}).update(some)
    return found


async def test_a_shadow_is_counted_beside_the_live_one(store: CounterStore) -> None:
    """What is folded into the shadow changes nothing of the live generation, and gives the same state."""
    await fill(store, LOG)
    before = await store.dump(0)
    generations = store.generations()
    shadow = generations.shadow()
    assert await shadow.head(0) is None
    head = await shadow.begin(0, LOG_ID, SMALL)
    assert head.generation != (await generations.overview(0)).live
    assert await shadow.begin(0, "another", SMALL) == head
    for part in (LOG[:7], LOG[7:]):
        assert await shadow.apply(0, await decide(shadow, part)) == Applied()
    assert await store.dump(0) == before
    assert comparable(await shadow.dump(0)) == comparable(before)


async def test_what_was_decided_for_the_live_one_never_enters_the_shadow(
    store: CounterStore,
) -> None:
    """Neither a batch nor a touch of one generation is taken by the other."""
    await store.begin(0, LOG_ID, SMALL)
    shadow = store.generations().shadow()
    await shadow.begin(0, LOG_ID, SMALL)
    live_batch, shadow_batch = await decide(store, LOG), await decide(shadow, LOG)
    assert isinstance(await shadow.apply(0, live_batch), Miss)
    assert isinstance(await store.apply(0, shadow_batch), Miss)
    assert isinstance(await store.touch(0, shadow_batch.generation, shadow_batch.before, NOW), Miss)
    assert await store.read_state(0, shadow_batch.generation, wanted([], SMALL)) is None


async def test_a_swap_makes_the_shadow_live(store: CounterStore) -> None:
    """At the same position the shadow takes over; what was in hand for the former one is a miss, and counting goes on."""
    await fill(store, LOG[:10])
    generations = store.generations()
    shadow = generations.shadow()
    await fill(shadow, LOG[:10])
    in_hand = await decide(store, LOG[10:])
    before = await store.dump(0)
    number = (await generations.overview(0)).shadow
    assert await generations.swap(0, number, NOW) == Swapped(number)
    assert comparable(await store.dump(0)) == comparable(before)
    answer = await store.apply(0, in_hand)
    assert isinstance(answer, Miss)
    assert answer.generation == number
    assert await store.apply(0, await decide(store, LOG[10:])) == Applied()
    reading = await store.read_counters(0, "a", ["v"], 0, NOW)
    assert reading is not None
    assert (reading.generation, reading.values) == (number, (20,))
    assert await shadow.head(0) is None
    assert await generations.swap(0, number, NOW) == Moved()


async def test_a_shadow_that_is_behind_is_not_swapped(store: CounterStore) -> None:
    """Fewer records, another log, or another record at the same position: nothing changes, and the live fence is told."""
    await fill(store, LOG[:10])
    generations = store.generations()
    shadow = generations.shadow()
    live = await store.head(0)
    assert live is not None
    other = as_log([view(NOON + n, id=f"other-{n:03d}") for n in range(12)])
    for log_id, log in ((LOG_ID, LOG[:9]), ("another", LOG[:12]), (LOG_ID, other[:10])):
        await shadow.begin(0, log_id, SMALL)
        await shadow.apply(0, await decide(shadow, log))
        number = (await generations.overview(0)).shadow
        assert await generations.swap(0, number, NOW) == Behind(live.fence)
        assert await store.head(0) == live
        await generations.discard(0)


async def test_only_the_fence_named_may_be_passed_over(store: CounterStore) -> None:
    """A log that was made anew can be rebuilt from; a live generation that moved on meanwhile is not passed over."""
    await fill(store, LOG[:10])
    generations = store.generations()
    shadow = generations.shadow()
    await shadow.begin(0, "another", SMALL)
    await shadow.apply(0, await decide(shadow, LOG[:3]))
    number = (await generations.overview(0)).shadow
    head = await store.head(0)
    assert head is not None
    stale = msgspec.structs.replace(head.fence, position=9)
    assert isinstance(await generations.swap(0, number, NOW, over=stale), Behind)
    assert await generations.swap(0, number, NOW, over=head.fence) == Swapped(number)
    head = await store.head(0)
    assert head is not None
    assert (head.fence.log_id, head.fence.position) == ("another", 3)


async def test_where_nothing_is_live_a_shadow_becomes_it(store: CounterStore) -> None:
    """A restore into an empty store needs no live generation."""
    generations = store.generations()
    await fill(generations.shadow(), LOG)
    number = (await generations.overview(0)).shadow
    assert await generations.swap(0, number, NOW) == Swapped(number)
    assert (await generations.overview(0)).live == number


@pytest.mark.parametrize("is_loaded", [False, True], ids=["counted", "loaded"])
async def test_a_first_generation_takes_no_number_of_a_shadow(
    store: CounterStore, is_loaded: bool
) -> None:
    """A store that is emptied under a rebuild: whoever begins first, the two do not write under one number."""
    generations = store.generations()
    shadow = generations.shadow()
    if is_loaded:
        number = await generations.start_load(0, NOW)
    else:
        number = (await shadow.begin(0, LOG_ID, SMALL)).generation
    head = await store.begin(0, LOG_ID, SMALL)
    assert head.generation != number
    await store.apply(0, await decide(store, LOG))
    expected = await store.dump(0)
    await generations.discard(0)
    await swept(generations, NOW)
    assert await store.dump(0) == expected


async def test_the_moment_the_numbers_hold_for_does_not_go_back_at_a_swap(
    store: CounterStore,
) -> None:
    """Numbers of a quiet site are as fresh after the swap as they were before."""
    await fill(store, LOG)
    head = await store.head(0)
    assert head is not None
    await store.touch(0, head.generation, head.fence, NOW)
    generations = store.generations()
    await fill(generations.shadow(), LOG)
    await generations.swap(0, (await generations.overview(0)).shadow, NOW)
    head = await store.head(0)
    assert head is not None
    assert head.as_of == NOW


async def test_the_former_generation_goes_after_a_while(store: CounterStore) -> None:
    """Readers in the middle of it find it for 10 minutes; then nothing of it is left, and the live one is whole."""
    await fill(store, LOG)
    former = (await store.generations().overview(0)).live
    generations = store.generations()
    await fill(generations.shadow(), LOG)
    await generations.swap(0, (await generations.overview(0)).shadow, NOW)
    expected = await store.dump(0)
    assert (await generations.overview(0)).doomed == {former: NOW + RETIRED_KEPT_MS}
    assert not await generations.sweep(0, NOW + RETIRED_KEPT_MS - 1)
    assert (await everything(generations, former))["counters a"]["v"] == 20
    await swept(generations, NOW + RETIRED_KEPT_MS)
    assert await everything(generations, former) == {"ids": {}}
    assert (await generations.overview(0)).doomed == {}
    assert await store.dump(0) == expected


async def test_a_shadow_that_nobody_goes_on_with_is_removed(store: CounterStore) -> None:
    """An hour after the last sign of a rebuild that was killed nothing of it is left; keeping it puts that off."""
    await fill(store, LOG)
    expected = await store.dump(0)
    generations = store.generations()
    shadow = generations.shadow()
    await fill(shadow, LOG)
    found = await generations.overview(0)
    (until,) = found.doomed.values()
    await generations.keep(0, found.shadow, until + 5)
    assert not await generations.sweep(0, until + 4)
    batch = await decide(shadow, as_log([view(NOW)], first=20))
    await swept(generations, until + 5)
    assert await shadow.head(0) is None
    assert await everything(generations, found.shadow) == {"ids": {}}
    assert isinstance(await shadow.apply(0, batch), Miss)
    assert await everything(generations, found.shadow) == {"ids": {}}
    assert await store.dump(0) == expected


async def test_the_live_generation_is_never_removed(store: CounterStore) -> None:
    """Whatever stands among the doomed."""
    await fill(store, LOG)
    generations = store.generations()
    await fill(generations.shadow(), LOG)
    number = (await generations.overview(0)).shadow
    await generations.swap(0, number, NOW)
    await generations.keep(0, number, 0)
    await swept(generations, NOW + RETIRED_KEPT_MS)
    assert (await generations.overview(0)).live == number
    assert (await everything(generations, number))["counters a"]["v"] == 20


async def test_a_copy_stands_still_while_counting_goes_on(store: CounterStore) -> None:
    """The copy is the live generation of one moment, whole, and is removed when its time has come."""
    assert await store.generations().freeze(0, NOW) is None
    await fill(store, LOG[:10])
    generations = store.generations()
    live = await generations.overview(0)
    expected = await everything(generations, live.live)
    head = await generations.freeze(0, NOW)
    assert head is not None
    await store.apply(0, await decide(store, LOG[10:]))
    assert head.fence.position == 10
    assert await everything(generations, head.generation) == expected
    assert await everything(generations, live.live) != expected
    await swept(generations, NOW)
    assert await everything(generations, head.generation) == {"ids": {}}
    assert (await generations.overview(0)).live == live.live


async def test_a_moment_moved_back_holds_in_every_generation(store: CounterStore) -> None:
    """What was set last of a reader is what is scanned, looked up and copied, whichever table it was set in."""
    await store.begin(0, LOG_ID, SMALL)
    reader, later = b"reader-a", NOON + SMALL.seen_ms + 2
    moments = [{b"reader-b": NOON}, {reader: later}, {reader: later - 5, b"reader-c": later + 1}]
    for record, seen in zip(LOG, moments, strict=False):
        batch = await decide(store, [record])
        batch.log_time, batch.seen = max(seen.values()), {"a": seen}
        assert await store.apply(0, batch) == Applied()
    generations = store.generations()
    head = await generations.freeze(0, NOW)
    assert head is not None
    for number in ((await generations.overview(0)).live, head.generation):
        assert (await everything(generations, number))["seen a"][reader] == later - 5
        found = await generations.look_up(0, number, Table.SEEN, "a", [reader, b"reader-z"])
        assert found == {reader: later - 5}


async def test_rows_are_looked_up_by_name(store: CounterStore) -> None:
    """Of every table, and what is not there is left out."""
    await fill(store, LOG)
    generations = store.generations()
    number = (await generations.overview(0)).live
    rows = await everything(generations, number)
    for table in SITE_TABLES:
        names = list(rows.get(f"{table} a", {}))
        found = await generations.look_up(0, number, table, "a", names)
        assert found == rows.get(f"{table} a", {})
    assert await generations.look_up(0, number, Table.COUNTERS, "a", ["absent"]) == {}
    assert await generations.look_up(0, number, Table.PAGE_DAYS, "a", [(1, "/absent")]) == {}
    assert await generations.look_up(0, number, Table.IDS, "", list(rows["ids"])) == rows["ids"]


async def test_what_is_loaded_is_as_if_it_were_counted(store: CounterStore) -> None:
    """A shadow loaded from a generation's rows is its equal, and both go on alike."""
    await fill(store, LOG[:10])
    generations = store.generations()
    live = await store.head(0)
    assert live is not None
    shadow = generations.shadow()
    number = await generations.start_load(0, NOW)
    assert await shadow.head(0) is None
    rows = await everything(generations, live.generation)
    ids = dict(sorted(rows.pop("ids").items(), key=lambda item: item[1]))
    await generations.load(0, number, Table.IDS, "", ids, live)
    for name, some in rows.items():
        table, site = name.split(" ")
        await generations.load(0, number, Table(table), site, some, live)
    await generations.finish_load(0, number, live)
    assert comparable(await shadow.dump(0)) == comparable(await store.dump(0))
    for each in (store, shadow):
        assert await each.apply(0, await decide(each, LOG[10:])) == Applied()
    assert comparable(await shadow.dump(0)) == comparable(await store.dump(0))
    await generations.swap(0, number, NOW)
    reading = await store.read_counters(0, "a", [], 0, NOW)
    assert reading is not None
    assert reading.online == 4


async def test_a_shadow_that_was_left_is_not_finished(store: CounterStore) -> None:
    """Who loads a shadow and was overtaken by another one hears of it, and leaves nothing."""
    generations = store.generations()
    head = Head(1, Fence(LOG_ID, 0, ""), 0, 0, (await empty(store)).id_window, SMALL)
    first = await generations.start_load(0, NOW)
    second = await generations.start_load(0, NOW)
    assert first != second
    with pytest.raises(StoreUnavailableError, match="no longer the shadow"):
        await generations.finish_load(0, first, head)
    await generations.finish_load(0, second, head)
    assert (await generations.overview(0)).shadow == second


async def test_meta_is_replaced_and_a_backup_noted(store: CounterStore) -> None:
    """What no service may do by itself, a rebuild does."""
    generations = store.generations()
    first = Meta(SCHEMA, LOG_ID, 1, 60, FOLD_VERSION)
    await store.put_meta(first)
    other = Meta(SCHEMA, "another", 1, 30, FOLD_VERSION)
    await generations.replace_meta(other)
    assert await store.meta() == other
    assert await generations.backed_up_at() == 0
    await generations.note_backup(NOW)
    assert await generations.backed_up_at() == NOW


async def empty(store: CounterStore) -> Head:
    """Return the head of a generation at 0."""
    return await store.begin(0, LOG_ID, Parameters())
