"""The world of the fence model: one partition, two aggregators, one store, and their misfortunes.

Everything is an immutable tuple, so that a state of the world can be a key of a dictionary. A
*step* takes one world and yields the worlds that may follow, each with a sentence. Two kinds:

* `protocol_steps`: what an aggregator does by itself (find its place, fetch, read state, apply);
* `fault_steps`: what happens to it (a crash, a store that goes back in time, a topic made anew).

The two aggregators are never synchronised, so a "zombie" needs no step of its own: it is one that
holds a batch while the other one takes fifty steps. A lost reply is the second outcome of
`apply`: the effect has happened, and the aggregator still holds the batch and will send it again.
A log that lost its tail has another epoch: an aggregator may ask for it, and may or may not be told by
a fetch that fails.

What is left out on purpose: time (a window never ends here; its law is in the fold's tests),
several partitions (they share nothing), errors inside the atomic step (the contract suite).
A letter serves as the fingerprint, so no two histories of one log agree after they have parted.
Finding one's place (read the fence, compare it with the log) is one step: it depends on one value
of the store and one of the log, and either may be out of date by the next step anyway.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

FIRST_LOG, SECOND_LOG = 1, 2

HISTORIES: dict[tuple[int, int], str] = {
    (FIRST_LOG, 0): "aba",
    (FIRST_LOG, 1): "axx",
    (SECOND_LOG, 0): "cdc",
    (SECOND_LOG, 1): "cdc",
}
"""All that a log can ever hold, by (log id, epoch). A letter is an event id: `aba` is three
records, the third a client's retry of the first. Epoch 1 is the same log after its broker lost the
tail in a power cut and was written to again."""


class Log(NamedTuple):
    """One partition of the log: `records[low:]` can still be read."""

    log_id: int
    epoch: int
    records: str
    low: int = 0


class Fence(NamedTuple):
    """Up to where the store has counted; `fingerprint` stands for the record before `position`."""

    log_id: int
    position: int
    fingerprint: str


class Store(NamedTuple):
    """What the store keeps, in one atomic whole: the fence, the counters, the fold's memory.

    `counted` is the multiset of counted events ("ab" reads: a once, b once) and `known` the set of
    event ids; `known` stands for all that the fold reads (ids, seen, deltas, pages). `rules` is the
    generation: the settings of the fold under which this store is being filled.
    """

    fence: Fence | None = None
    counted: str = ""
    known: str = ""
    rules: str = ""


class Batch(NamedTuple):
    """What `fold` made of some records: the only thing that `apply` is given."""

    start: Fence
    end: Fence
    counted: str
    known: str
    rules: str


Phase = Literal[
    "down", "creating", "ready", "asked", "fetched", "stated", "folded", "torn", "stopped"
]


class Aggregator(NamedTuple):
    """What one aggregator has in memory.

    down: knows nothing. ready: has found its place. fetched: holds records. folded: holds a batch.
    stopped: in a named state, retried. creating, asked, stated, torn: only wrong protocols.
    """

    phase: Phase
    place: Fence | None = None
    epoch: int = 0
    records: str = ""
    first: int = 0
    known: str = ""
    batch: Batch | None = None
    reason: str = ""


class World(NamedTuple):
    """One state of everything. `faults` are those that may still happen, each at most once."""

    log: Log
    store: Store
    aggregators: tuple[Aggregator, Aggregator]
    faults: tuple[str, ...]
    backup: Store | None = None
    replica: Store = Store()
    committed: int = 0


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the aggregators work. The defaults are the product; a variant changes one of them."""

    fence: Literal["equal", "not_behind", "none"] = "equal"
    """`apply` passes if the stored position == the batch's start, <= it, or always."""
    position_from: Literal["store", "kafka_commit"] = "store"
    on_miss: Literal["seek", "stay"] = "seek"
    answers_already: bool = True
    """Whether `apply` tells "your batch is in" apart from any other miss."""
    log_id_checked: Literal["each_batch", "before_fetch", "when_seeking", "never"] = "each_batch"
    """each_batch: asked of the log after the fetch and before the apply. All but "never" also ask
    when seeking and while idle."""
    fingerprint: bool = True
    sees_fetch_errors: bool = False
    """Whether a broken connection makes the aggregator find its place again. The product does not
    rely on it: the client library mends a connection in silence."""
    epoch_checked: Literal["each_batch", "before_fetch", "never"] = "each_batch"
    """each_batch: the leader's epoch is asked of the log together with its id, after the fetch; another
    one than when the place was found means to find it again. Both also ask while idle."""
    heartbeat: bool = True
    """Whether an idle aggregator looks at the fence and the log now and then (`touch`)."""
    state_read: Literal[
        "with_fence", "before_fence", "replica", "replica_with_fence", "remembered"
    ] = "with_fence"
    """Where the fold's state comes from: the primary, at once with the fence, is right.
    `remembered`: the aggregator keeps what its own last fold ended with, and reads after a seek."""
    apply_order: Literal["atomic", "fence_first", "counters_first"] = "atomic"
    creation: Literal["if_absent", "blind"] = "if_absent"
    checks_generation: bool = True
    below_low: Literal["stop", "skip"] = "stop"
    """What to do when retention has removed the records at the position."""
    ids_expire: Literal["log_time", "wall_clock"] = "log_time"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Which faults may happen (crashes and lost replies always may), and each side's settings."""

    faults: tuple[str, ...] = ()
    rules: tuple[str, str] = ("once", "once")


Step = tuple[str, World]
"""One thing that happens, in words, and the world after it."""


def first_world(scenario: Scenario) -> World:
    """Return the beginning: a full log, an empty store, two aggregators that know nothing."""
    log = Log(FIRST_LOG, 0, HISTORIES[FIRST_LOG, 0])
    return World(log, Store(), (Aggregator("down"), Aggregator("down")), scenario.faults)


@functools.cache
def fold(rules: str, records: str, known: str) -> tuple[str, str]:
    """Return what `records` add to the counters, and the ids known after them.

    The rules "once" leave out an id that is known; the rules "every" (another configuration, used
    in one scenario only) count each record.
    """
    counted = ""
    for record in records:
        if rules == "every" or record not in known:
            counted += record
        known = merged_ids(known, record)
    return counted, known


@functools.cache
def merged_ids(known: str, more: str) -> str:
    """Return the union of two sets of ids, in one written form."""
    return "".join(sorted(set(known) | set(more)))


def fence_at(protocol: Protocol, log: Log, position: int) -> Fence:
    """Return the fence that belongs to a position of a log, as far as the protocol writes one."""
    log_id = 0 if protocol.log_id_checked == "never" else log.log_id
    return Fence(log_id, position, fingerprint_at(protocol, log.records, position))


def fingerprint_at(protocol: Protocol, records: str, position: int) -> str:
    """Return the fingerprint of the record before `position`; a dash where there is none."""
    if not protocol.fingerprint or position == 0 or position > len(records):
        return "-"
    return records[position - 1]


def named_state(protocol: Protocol, fence: Fence, log: Log) -> str:
    """Return why this log is not the one the fence speaks of, or "" if it is."""
    if protocol.log_id_checked != "never" and fence.log_id != log.log_id:
        return "wrong_log"
    if fence.position > len(log.records):
        return "log_behind_store"
    if fence.position < log.low:
        return "retention_lost" if protocol.below_low == "stop" else ""
    # At position == low the record before is gone: only the log's id can speak then.
    if fence.position > log.low and fence.fingerprint != fingerprint_at(
        protocol, log.records, fence.position
    ):
        return "wrong_log"
    return ""


def passes(protocol: Protocol, stored: Fence | None, start: Fence) -> bool:
    """Return whether a batch that begins at `start` may be added to a store at `stored`."""
    if protocol.fence == "none":
        return True
    if stored is None:
        return False
    if protocol.fence == "not_behind":
        return stored.position <= start.position
    return stored == start


# ---------------------------------------------------------------- what an aggregator does by itself


def protocol_steps(protocol: Protocol, rules: str, world: World, me: int) -> Iterator[Step]:
    """Yield every next step that aggregator `me` may take by itself."""
    match world.aggregators[me].phase:
        case "down" | "stopped":
            yield from _find_place(protocol, rules, world, me)
        case "creating":
            yield from _create_blindly(protocol, world, me)
        case "ready":
            if "before_fetch" in (protocol.log_id_checked, protocol.epoch_checked):
                yield from _ask_first(protocol, world, me)
            else:
                yield from _fetch(protocol, world, me)
            yield from _heartbeat(protocol, world, me)
            yield from _commit_to_kafka(protocol, world, me)
        case "asked":
            yield from _fetch(protocol, world, me)
        case "fetched":
            yield from _read_state(protocol, rules, world, me)
        case "stated":
            yield from _read_fence(protocol, rules, world, me)
        case "folded":
            yield from _apply(protocol, world, me)
        case "torn":
            yield from _second_half(protocol, world, me)


def _become(world: World, me: int, aggregator: Aggregator) -> World:
    """Return the world with aggregator `me` changed."""
    other = world.aggregators[1 - me]
    pair = (aggregator, other) if me == 0 else (other, aggregator)
    # As `world._replace(aggregators=pair)`, in half the time: this is most of the search.
    return World(world[0], world[1], pair, *world[3:])


def _find_place(protocol: Protocol, rules: str, world: World, me: int) -> Iterator[Step]:
    """Read the fence from the store, compare it with the log, seek; or stop in a named state."""
    log, store = world.log, world.store
    fence = store.fence
    if fence is None and protocol.creation == "blind":
        yield "finds no fence", _become(world, me, Aggregator("creating", epoch=log.epoch))
        return
    if fence is None:
        fence = fence_at(protocol, log, 0)
        store = Store(fence, rules=rules)
    reason = named_state(protocol, fence, log)
    if store.rules != rules:
        reason = "other_rules"
    if reason:
        if world.aggregators[me].reason != reason:
            stopped = Aggregator("stopped", reason=reason)
            yield f"stops: {reason}", _become(world, me, stopped)
        return
    if protocol.position_from == "kafka_commit":
        fence = fence_at(protocol, log, world.committed)
    ready = Aggregator("ready", place=fence, epoch=log.epoch)
    yield f"seeks to {fence.position}", _become(world._replace(store=store), me, ready)


def _create_blindly(protocol: Protocol, world: World, me: int) -> Iterator[Step]:
    """Write the first fence without looking again whether there still is none."""
    fence = fence_at(protocol, world.log, 0)
    store = world.store._replace(fence=fence, rules=world.store.rules or "once")
    ready = Aggregator("ready", place=fence, epoch=world.log.epoch)
    yield "writes the first fence", _become(world._replace(store=store), me, ready)


def _ask_first(protocol: Protocol, world: World, me: int) -> Iterator[Step]:
    """Ask the log for its id or epoch before a fetch; another one is noticed by the heartbeat."""
    mine, log = world.aggregators[me], world.log
    assert mine.place is not None
    has_news = mine.epoch != log.epoch or mine.place.position != len(log.records)
    if has_news and not has_moved(protocol, mine, log):
        yield "asks id and epoch: the same", _become(world, me, mine._replace(phase="asked"))


def has_moved(protocol: Protocol, mine: Aggregator, log: Log) -> bool:
    """Return whether the log's answer is another one than when the place was found."""
    assert mine.place is not None
    is_other_log = protocol.log_id_checked != "never" and mine.place.log_id != log.log_id
    is_other_epoch = protocol.epoch_checked != "never" and mine.epoch != log.epoch
    return is_other_log or is_other_epoch


def _fetch(protocol: Protocol, world: World, me: int) -> Iterator[Step]:
    """Fetch one or more records from the place; every cut of the log into batches is tried."""
    mine, log = world.aggregators[me], world.log
    assert mine.place is not None
    first = mine.place.position
    is_broken = mine.epoch != log.epoch and protocol.sees_fetch_errors
    if is_broken or first > len(log.records):
        yield "fetch fails", _become(world, me, Aggregator("down"))
        return
    if first < log.low:
        if protocol.below_low == "stop":
            yield "fetch fails", _become(world, me, Aggregator("down"))
            return
        first = log.low
    for end in range(first + 1, len(log.records) + 1):
        records = log.records[first:end]
        holding = mine._replace(phase="fetched", records=records, first=first)
        yield f"fetches {records} from {first}", _become(world, me, holding)


def _heartbeat(protocol: Protocol, world: World, me: int) -> Iterator[Step]:
    """Notice without any record that the store or the log is not the one of before (`touch`)."""
    mine, place = world.aggregators[me], world.aggregators[me].place
    assert place is not None
    if not protocol.heartbeat or protocol.on_miss == "stay":
        return
    if has_moved(protocol, mine, world.log) or not passes(protocol, world.store.fence, place):
        yield "touch: not my place any more", _become(world, me, Aggregator("down"))


def _commit_to_kafka(protocol: Protocol, world: World, me: int) -> Iterator[Step]:
    """Write the place to the consumer group, as most consumers do; only two variants rely on it."""
    place = world.aggregators[me].place
    assert place is not None
    if protocol.position_from == "kafka_commit" and world.committed != place.position:
        yield f"commits {place.position}", world._replace(committed=place.position)


def _read_state(protocol: Protocol, rules: str, world: World, me: int) -> Iterator[Step]:
    """Ask the log for id and epoch, read what the fold needs together with the fence, and fold."""
    mine, place = world.aggregators[me], world.aggregators[me].place
    assert place is not None
    if protocol.epoch_checked == "each_batch" and world.log.epoch != mine.epoch:
        yield "asks the epoch: another", _become(world, me, Aggregator("down"))
        return
    if protocol.log_id_checked == "each_batch" and world.log.log_id != place.log_id:
        yield "asks the log id: another", _become(world, me, Aggregator("down"))
        return
    if protocol.state_read == "before_fence":
        stated = mine._replace(phase="stated", known=world.store.known)
        yield f"reads the state ({world.store.known or 'empty'})", _become(world, me, stated)
        return
    if protocol.state_read == "remembered" and mine.known:
        read: tuple[Fence | None, str] = place, mine.known
    elif protocol.state_read == "replica":
        read = world.store.fence, world.replica.known
    else:
        source = world.replica if protocol.state_read == "replica_with_fence" else world.store
        read = source.fence, source.known
    yield from _fold_if_mine(protocol, rules, read, world, me)


def _read_fence(protocol: Protocol, rules: str, world: World, me: int) -> Iterator[Step]:
    """Compare the fence some time after the state was read."""
    known = world.aggregators[me].known
    yield from _fold_if_mine(protocol, rules, (world.store.fence, known), world, me)


def _fold_if_mine(
    protocol: Protocol, rules: str, read: tuple[Fence | None, str], world: World, me: int
) -> Iterator[Step]:
    """Fold the records if the fence that was read is where they begin; otherwise drop them."""
    mine, (fence, known) = world.aggregators[me], read
    assert mine.place is not None
    if not passes(protocol, fence, mine.place):
        yield "reads another fence: drops the batch", _after_miss(protocol, world, me)
        return
    counted, known = fold(rules, mine.records, known)
    fingerprint = mine.records[-1] if protocol.fingerprint else "-"
    end = Fence(mine.place.log_id, mine.first + len(mine.records), fingerprint)
    batch = Batch(mine.place, end, counted, known, rules)
    folded = Aggregator("folded", place=mine.place, epoch=mine.epoch, batch=batch)
    yield f"reads state and fence, folds: +{counted or 'nothing'}", _become(world, me, folded)


def _after_miss(protocol: Protocol, world: World, me: int) -> World:
    """Return the world after a batch was refused: find the place again, or stay where one was."""
    mine = world.aggregators[me]
    if protocol.on_miss == "seek":
        return _become(world, me, Aggregator("down"))
    return _become(world, me, Aggregator("ready", place=mine.place, epoch=mine.epoch))


def _apply(protocol: Protocol, world: World, me: int) -> Iterator[Step]:
    """Check, add, write the fence."""
    mine, store, batch = world.aggregators[me], world.store, world.aggregators[me].batch
    assert batch is not None
    span = f"[{batch.start.position}:{batch.end.position}]"
    done = Aggregator("ready", place=batch.end, epoch=mine.epoch)
    if protocol.state_read == "remembered":
        done = done._replace(known=batch.known)
    if is_accepted(protocol, store, batch):
        if protocol.apply_order != "atomic":
            half = world._replace(store=_half(protocol, store, batch, first=True))
            torn = mine._replace(phase="torn")
            yield f"apply {span}: {protocol.apply_order}", _become(half, me, torn)
            return
        after = world._replace(store=_added(store, batch))
        yield f"apply {span}: applied", _become(after, me, done)
    elif protocol.answers_already and (store.fence, store.rules) == (batch.end, batch.rules):
        yield f"apply {span}: already", _become(world, me, done)
    else:
        yield f"apply {span}: miss", _after_miss(protocol, world, me)


def is_accepted(protocol: Protocol, store: Store, batch: Batch) -> bool:
    """Return whether `apply` would add this batch to the store."""
    is_my_generation = store.rules == batch.rules or not protocol.checks_generation
    return is_my_generation and passes(protocol, store.fence, batch.start)


def _added(store: Store, batch: Batch) -> Store:
    """Return the store with a batch added."""
    counted = "".join(sorted(store.counted + batch.counted))
    return store._replace(
        fence=batch.end, counted=counted, known=merged_ids(store.known, batch.known)
    )


def _half(protocol: Protocol, store: Store, batch: Batch, *, first: bool) -> Store:
    """Return the store after one half of an apply that is not atomic."""
    if (protocol.apply_order == "fence_first") == first:
        return store._replace(fence=batch.end)
    return _added(store, batch)._replace(fence=store.fence)


def _second_half(protocol: Protocol, world: World, me: int) -> Iterator[Step]:
    """Finish an apply that is not atomic."""
    mine, batch = world.aggregators[me], world.aggregators[me].batch
    assert batch is not None
    after = world._replace(store=_half(protocol, world.store, batch, first=False))
    done = Aggregator("ready", place=batch.end, epoch=mine.epoch)
    yield "apply: the other half", _become(after, me, done)


# ------------------------------------------------------------------------ what happens to it


def replica_steps(protocol: Protocol, world: World) -> Iterator[Step]:
    """Yield the step of a replica that catches up (no fault: it comes by itself)."""
    if protocol.state_read.startswith("replica") and world.replica != world.store:
        yield "the replica catches up", world._replace(replica=world.store)


def fault_steps(protocol: Protocol, world: World) -> Iterator[Step]:
    """Yield every fault that may happen now."""
    for me, aggregator in enumerate(world.aggregators):
        if aggregator.phase not in ("down", "stopped"):
            yield f"{'AB'[me]} crashes", _become(world, me, Aggregator("down"))
        batch = aggregator.batch
        if aggregator.phase == "folded" and protocol.apply_order == "atomic" and batch is not None:
            yield from _lost_reply(protocol, world, me, batch)
    log = world.log
    full = HISTORIES[log.log_id, log.epoch]
    if log.records != full:
        grown = log._replace(records=full)
        yield f"the log grows to {full}", world._replace(log=grown)
    for fault in world.faults:
        left = tuple(other for other in world.faults if other != fault)
        yield from _once(fault, protocol, world._replace(faults=left))


def _lost_reply(protocol: Protocol, world: World, me: int, batch: Batch) -> Iterator[Step]:
    """Let an apply take effect without its aggregator hearing of it: it still holds the batch."""
    if is_accepted(protocol, world.store, batch):
        step = f"{'AB'[me]} apply [{batch.start.position}:{batch.end.position}]: the reply is lost"
        yield step, world._replace(store=_added(world.store, batch))


def _once(fault: str, protocol: Protocol, world: World) -> Iterator[Step]:
    """Yield what one fault of the scenario does, if it can happen now."""
    log, store = world.log, world.store
    match fault:
        case "save" if store.fence is not None:
            yield "a backup of the store is made", world._replace(backup=store)
        case "restore" if world.backup is not None and world.backup != store:
            position = world.backup.fence.position if world.backup.fence else 0
            back = world._replace(store=world.backup)
            yield f"the store goes back to the backup (position {position})", back
        case "flush" if store.fence is not None:
            yield "FLUSHALL", world._replace(store=Store())
        case "recreate":
            made = Log(SECOND_LOG, log.epoch, HISTORIES[SECOND_LOG, 0][:1])
            yield "the topic is made anew (c)", world._replace(log=made)
        case "lose_tail" if log.log_id == FIRST_LOG:
            cut = Log(FIRST_LOG, 1, HISTORIES[FIRST_LOG, 1][:1])
            yield "power cut: the log keeps only a", world._replace(log=cut)
        case "trim" if len(log.records) > 1:
            yield "retention removes the first 2 records", world._replace(log=log._replace(low=2))
        case "expire" if protocol.ids_expire == "wall_clock" and store.known:
            yield "the ids expire by the clock", world._replace(store=store._replace(known=""))
