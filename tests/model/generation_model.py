"""An exhaustive model of rebuilding beside live counting: every order of every step of all who take part.

    python -m tests.model.generation_model            # the table
    python -m tests.model.generation_model --steps    # with the steps of every counterexample

One partition of three records (`aba`: the third is a client's retry of the first) and: an aggregator that counts, two
rebuilds (the second one is started after the first was killed, or beside it: then the first one is a zombie), a reader,
and the removal of what is no longer needed. A crash may come at any step, a reply may be lost. What is asked:

Safety
    Every generation that has a fence is the fold of the records before it, by its own rules.
What a reader is given
    Numbers of one generation and one position, never those of a removed one, and never further back than what was live when
    the reading began.
The end
    However it came about, the aggregator alone can count all records into the live generation, and once a rebuild ran through,
    the live generation is by the rebuild's rules.

`fence_model.py` is about one generation and a log that misbehaves; here the log is a good one, and there are several
generations. A generation of the rules `once` leaves out a known id, one of `every` counts each record: a rebuild after a
setting was changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

LOG = "aba"
OLD, NEW = "once", "every"
REMOVED = -1


class Generation(NamedTuple):
    """What the store keeps under one number; `position` is -1 once it is removed."""

    position: int
    counted: str
    known: str
    rules: str


class Batch(NamedTuple):
    """What was decided of one record: where it begins, what it adds, and for which generation."""

    generation: int
    start: int
    counted: str
    known: str
    rules: str


class Actor(NamedTuple):
    """The aggregator or a rebuild: the generation and position it stands at; `checked`: it found the swap allowed."""

    phase: str = "down"
    generation: int = -1
    place: int = -1
    batch: Batch | None = None
    checked: bool = False


class Reading(NamedTuple):
    """A reader in the middle: the pointer it saw, the values it took, and the least position it may be given."""

    pointer: int
    values: tuple[int, str, str] | None
    least: int


class World(NamedTuple):
    """One state of everything. `bad` is set by a reader that was given what it must not be."""

    generations: tuple[Generation, ...]
    live: int
    shadow: int
    aggregator: Actor
    rebuilds: tuple[Actor, Actor]
    reading: Reading | None
    swaps: int
    bad: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """How it is done. The defaults are the product; a variant changes one of them."""

    apply_checks_pointer: bool = True
    """apply passes only while its generation is what the pointer (live's or shadow's) names."""
    apply_checks_rules: bool = True
    shadow_is_fenced: bool = True
    """Whether a batch for the shadow is held against the shadow's position."""
    state_from: str = "shadow"
    """Where a rebuild reads the fold's state: `shadow`, or `live` (the ids that are known already)."""
    swap_compares: str = "in_the_step"
    """The positions are compared in the step that swaps, in a step before it, or never."""
    reader_looks_again: bool = True
    """Whether a reader reads the pointer after the values too."""
    new_number: bool = True
    """Whether a second rebuild makes a generation of its own; else it goes on with what stands under the first one's number, emptied."""
    rules: str = NEW


def fold(rules: str, records: str, known: str) -> tuple[str, str]:
    """Return what records add to the counters, and the ids known after them."""
    counted = ""
    for record in records:
        if rules == NEW or record not in known:
            counted += record
        known = "".join(sorted(set(known) | {record}))
    return counted, known


def first_world() -> World:
    """Return the beginning: nothing is counted, the first generation is live."""
    first = Generation(0, "", "", OLD)
    return World((first,), 0, -1, Actor(), (Actor(), Actor()), None, 0, "")


Step = tuple[str, World]


def steps(protocol: Protocol, world: World) -> Iterator[Step]:
    """Yield everything that may happen next."""
    yield from aggregator_steps(protocol, world)
    for me in (0, 1):
        yield from _rebuild_steps(protocol, world, me)
    yield from _reader_steps(protocol, world)
    yield from _removals(world)


def aggregator_steps(protocol: Protocol, world: World) -> Iterator[Step]:
    """Yield what the aggregator may do: find its place, decide the next record, apply, crash."""
    me = world.aggregator
    if me.phase == "down":
        live = world.generations[world.live]
        ready = Actor("ready", world.live, live.position)
        yield (
            f"A finds generation {world.live} at {live.position}",
            world._replace(aggregator=ready),
        )
        return
    yield "A crashes", world._replace(aggregator=Actor())
    if me.phase == "ready" and me.place < len(LOG):
        held = world.generations[me.generation]
        if world.live != me.generation or held.position != me.place:
            yield "A reads another fence", world._replace(aggregator=Actor())
            return
        decided = me._replace(phase="decided", batch=_decide(me, held))
        yield f"A decides record {me.place}", world._replace(aggregator=decided)
    if me.phase == "ready" and me.place == len(LOG) and world.live != me.generation:
        yield "A touches: another generation is live", world._replace(aggregator=Actor())
    if me.phase == "decided" and me.batch is not None:
        after = _applied(protocol, world, me.batch, world.live)
        name = f"A applies [{me.batch.start}] to generation {me.batch.generation}"
        if after is None:
            yield f"{name}: miss", world._replace(aggregator=Actor())
            return
        yield f"{name}: the reply is lost", after
        done = Actor("ready", me.generation, me.place + 1)
        yield name, after._replace(aggregator=done)


def _decide(me: Actor, state: Generation) -> Batch:
    counted, known = fold(state.rules, LOG[me.place], state.known)
    return Batch(me.generation, me.place, counted, known, state.rules)


def _applied(protocol: Protocol, world: World, batch: Batch, pointer: int) -> World | None:
    """Return the world after a batch was added, `None` where it is refused."""
    number = batch.generation if protocol.apply_checks_pointer else pointer
    if number < 0 or (protocol.apply_checks_pointer and pointer != number):
        return None
    held = world.generations[number]
    is_fenced = number == world.live or protocol.shadow_is_fenced
    if held.position == REMOVED or (is_fenced and held.position != batch.start):
        return None
    if protocol.apply_checks_rules and held.rules != batch.rules:
        return None
    counted = "".join(sorted(held.counted + batch.counted))
    known = "".join(sorted(set(held.known) | set(batch.known)))
    position = batch.start + 1
    return _with(world, number, Generation(position, counted, known, held.rules))


def _with(world: World, number: int, generation: Generation) -> World:
    generations = list(world.generations)
    generations[number] = generation
    return world._replace(generations=tuple(generations))


def _rebuild_steps(protocol: Protocol, world: World, number: int) -> Iterator[Step]:
    """Yield what a rebuild may do: make a shadow, fold into it, swap, be killed."""
    me, name = world.rebuilds[number], "RZ"[number]

    def become(actor: Actor, other: World = world) -> World:
        pair = list(other.rebuilds)
        pair[number] = actor
        return other._replace(rebuilds=(pair[0], pair[1]))

    if me.phase == "down":
        if number == 1 and world.rebuilds[0].phase == "down":
            return
        yield from _begun(protocol, world, name, become)
        return
    if me.phase == "done":
        return
    yield f"{name} is killed", become(Actor("done"))
    if me.phase == "ready":
        shadow = world.generations[me.generation]
        if world.shadow != me.generation or shadow.position != me.place:
            yield f"{name} finds the shadow taken", become(Actor("done"))
            return
        if me.place < len(LOG):
            state = (
                shadow
                if protocol.state_from == "shadow"
                else shadow._replace(known=world.generations[world.live].known)
            )
            yield (
                f"{name} decides record {me.place}",
                become(me._replace(phase="decided", batch=_decide(me, state))),
            )
        yield from _swapped(protocol, world, me, name, become)
    if me.phase == "decided" and me.batch is not None:
        after = _applied(protocol, world, me.batch, world.shadow)
        step = f"{name} applies [{me.batch.start}] to the shadow {me.batch.generation}"
        if after is None:
            yield f"{step}: miss", become(Actor("done"))
            return
        yield step, become(Actor("ready", me.generation, me.place + 1), after)


def _begun(protocol: Protocol, world: World, name: str, become: object) -> Iterator[Step]:
    """Yield the making of a shadow; a former one is removed then or later."""
    assert callable(become)
    fresh = Generation(0, "", "", protocol.rules)
    if protocol.new_number or world.shadow < 0:
        made = world._replace(
            generations=(*world.generations, fresh), shadow=len(world.generations)
        )
    else:
        made = _with(world, world.shadow, fresh)
    actor = Actor("ready", made.shadow, 0)
    yield f"{name} makes shadow {made.shadow}", become(actor, made)


def _swapped(
    protocol: Protocol, world: World, me: Actor, name: str, become: object
) -> Iterator[Step]:
    """Yield the swap of the pointer, as the protocol allows it."""
    assert callable(become)
    mine, live = world.generations[me.generation], world.generations[world.live]
    is_level = mine.position >= live.position
    if protocol.swap_compares == "before" and not me.checked:
        if is_level:
            yield f"{name} finds the shadow level", become(me._replace(checked=True))
        return
    if protocol.swap_compares == "in_the_step" and not is_level:
        return
    after = world._replace(live=me.generation, shadow=-1, swaps=world.swaps + 1)
    yield (
        f"{name} swaps to generation {me.generation} at {mine.position}",
        become(Actor("done"), after),
    )


def _reader_steps(protocol: Protocol, world: World) -> Iterator[Step]:
    """Yield what a reader may do: see the pointer, take values, look again, be given them."""
    reading = world.reading
    if reading is None:
        least = world.generations[world.live].position
        yield (
            f"a reader sees generation {world.live}",
            world._replace(reading=Reading(world.live, None, least)),
        )
        return
    if reading.values is None:
        held = world.generations[reading.pointer]
        values = (max(held.position, 0), held.counted, held.rules)
        if held.position == REMOVED:
            values = (0, "", held.rules)
        yield "it takes the values", world._replace(reading=reading._replace(values=values))
        return
    if protocol.reader_looks_again and world.live != reading.pointer:
        yield (
            "it sees that the pointer moved, and begins again",
            world._replace(reading=reading._replace(pointer=world.live, values=None)),
        )
        return
    position, counted, rules = reading.values
    right, _known = fold(rules, LOG[:position], "")
    bad = ""
    if "".join(sorted(right)) != counted:
        bad = "mixed"
    elif position < reading.least:
        bad = "back"
    yield "it is given them", world._replace(reading=None, bad=bad)


def _removals(world: World) -> Iterator[Step]:
    """Yield the removal of each generation that neither pointer names."""
    for number, held in enumerate(world.generations):
        if number not in {world.live, world.shadow} and held.position != REMOVED:
            yield (
                f"generation {number} is removed",
                _with(world, number, held._replace(position=REMOVED, counted="", known="")),
            )


def broken_law(world: World) -> str:
    """Return what is wrong in this world, "" for nothing."""
    if world.bad:
        return world.bad
    for held in world.generations:
        if held.position == REMOVED:
            continue
        counted, _known = fold(held.rules, LOG[: held.position], "")
        if "".join(sorted(counted)) != held.counted:
            return "doubled" if len(held.counted) > len(counted) else "lost"
    return ""


class Result(NamedTuple):
    """What the search found; the steps lead to the first world that breaks a law."""

    verdict: str
    states: int
    trace: tuple[str, ...]


def check(protocol: Protocol) -> Result:
    """Search every reachable world, breadth first."""
    begin = first_world()
    parents: dict[World, tuple[World | None, str]] = {begin: (None, "")}
    queue = [begin]
    swapped = False
    for world in queue:
        verdict = broken_law(world) or ("" if _can_end(protocol, world) else "stuck")
        if verdict:
            return Result(verdict, len(parents), _trace(parents, world))
        swapped = swapped or (
            world.swaps > 0 and world.generations[world.live].rules == protocol.rules
        )
        for step, after in steps(protocol, world):
            if after not in parents:
                parents[after] = (world, step)
                queue.append(after)
    return Result("holds" if swapped else "never swapped", len(parents), ())


def _can_end(protocol: Protocol, world: World) -> bool:
    """Claim that the aggregator alone can count everything into the live generation; crashes are no help."""
    seen, queue = {world}, [world]
    for here in queue:
        if here.generations[here.live].position == len(LOG):
            return True
        for step, after in aggregator_steps(protocol, here):
            if "crashes" not in step and after not in seen:
                seen.add(after)
                queue.append(after)
    return False


def _trace(parents: dict[World, tuple[World | None, str]], world: World) -> tuple[str, ...]:
    found: list[str] = []
    here: World | None = world
    while here is not None:
        here, step = parents[here]
        found.append(step)
    return tuple(reversed(found[:-1]))


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table."""

    name: str
    expected: str
    lesson: str
    protocol: Protocol = Protocol()


VARIANTS = (
    Variant("product: other rules", "holds", "A rebuild after a setting was changed."),
    Variant("product: the same rules", "holds", "A rebuild to be sure.", Protocol(rules=OLD)),
    Variant(
        "apply does not look at the pointer",
        "lost",
        "What was decided by the old rules enters the generation that is live now.",
        Protocol(apply_checks_pointer=False, apply_checks_rules=False),
    ),
    Variant(
        "a shadow without a fence",
        "lost",
        "A second rebuild has begun the shadow anew; what the first one had in hand still goes into it.",
        Protocol(shadow_is_fenced=False, new_number=False),
    ),
    Variant(
        "a shadow folded with the live one's memory",
        "lost",
        "The live generation knows the ids already: the shadow counts nothing.",
        Protocol(state_from="live", rules=OLD),
    ),
    Variant(
        "positions compared before the swap",
        "back",
        "Live counting goes on between the comparison and the swap: readers see less than before.",
        Protocol(swap_compares="before"),
    ),
    Variant(
        "positions not compared",
        "back",
        "Readers see a shadow that has hardly begun.",
        Protocol(swap_compares="never"),
    ),
    Variant(
        "a reader that does not look again",
        "back",
        "The generation is removed between the pointer and the values: a false 0.",
        Protocol(reader_looks_again=False),
    ),
)


def main() -> None:
    """Print the table, and with `--steps` every counterexample."""
    for variant in VARIANTS:
        result = check(variant.protocol)
        line = f"{variant.name:<44}{result.states:>8}  {result.verdict:<8}"
        sys.stdout.write(f"{line}{len(result.trace) or '':>5}\n")
        if "--steps" in sys.argv[1:]:
            sys.stdout.write(
                "".join(f"    {n}. {step}\n" for n, step in enumerate(result.trace, 1))
            )


if __name__ == "__main__":
    main()
