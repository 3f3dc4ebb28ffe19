"""An exhaustive model of counting exactly once: every order of every step, crash and lost reply.

Run it to read the table and the shortest way each wrong variant goes wrong:

    python -m tests.model.fence_model            # the table
    python -m tests.model.fence_model --steps    # with the steps of every counterexample

`world.py` holds the world and its steps, `variants.py` the protocols, this file the search and the
three things that are asked of a protocol:

Safety (the replay law)
    Whenever the store says "position P of log L", the counters are the fold of the first P records
    of L: no more (`doubled`), no less (`lost`), and nothing of another log (`mixed`).
No dead end (else `stuck`)
    From every reachable world each aggregator *alone*, while the other one is frozen and nothing
    more goes wrong, can reach the goal.
The end is certain (else `spins`)
    However it cuts its batches, it cannot walk in circles on the way.

The goal: all records of the log are counted, or the aggregator stands in a named state *and that
state is true* (the log really is another, shorter than the store, or without the records needed).
A crash is no help: an aggregator that goes on only after a restart is stuck.

The search is breadth-first, so the first world that breaks a law is reached by the fewest steps.
"""

from __future__ import annotations

import functools
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from tests.model.variants import VARIANTS, Variant
from tests.model.world import (
    HISTORIES,
    Log,
    Protocol,
    Scenario,
    Store,
    World,
    fault_steps,
    first_world,
    fold,
    protocol_steps,
    replica_steps,
)

Verdict = Literal["holds", "doubled", "lost", "mixed", "stuck", "spins"]


@dataclass(frozen=True, slots=True)
class Result:
    """What the search found; `trace` is the shortest counterexample, empty if the variant holds."""

    verdict: Verdict
    state_count: int
    trace: tuple[str, ...] = ()
    last: World | None = None


@dataclass(slots=True)
class _Graph:
    """All worlds found so far, by number, with how each was first reached."""

    worlds: list[World] = field(default_factory=list)
    numbers: dict[World, int] = field(default_factory=dict)
    parents: list[tuple[int, str]] = field(default_factory=list)
    alone: tuple[list[list[int]], list[list[int]]] = field(default_factory=lambda: ([], []))
    """For each aggregator and world: where the aggregator can go by itself."""

    def number(self, world: World, parent: int, step: str) -> int:
        """Return the number of a world, a new one if it was not seen before."""
        found = self.numbers.get(world)
        if found is None:
            found = self.numbers[world] = len(self.worlds)
            self.worlds.append(world)
            self.parents.append((parent, step))
        return found

    def trace(self, number: int) -> tuple[str, ...]:
        """Return the steps from the beginning to a world."""
        steps = []
        while number > 0:
            number, step = self.parents[number]
            steps.append(step)
        return tuple(reversed(steps))


def check(protocol: Protocol, scenario: Scenario, only: str = "") -> Result:
    """Search every reachable world and return the first law that breaks, or that all hold.

    Args:
        protocol: How the aggregators work.
        scenario: What may befall them.
        only: A verdict; ways of going wrong other than this one do not end the search.
    """
    graph = _Graph()
    graph.number(first_world(scenario), -1, "")
    current = 0
    while current < len(graph.worlds):
        world = graph.worlds[current]
        broken = broken_law(protocol, world)
        if broken and only in ("", broken):
            return Result(broken, len(graph.worlds), graph.trace(current), world)
        _expand(graph, protocol, scenario, current)
        current += 1
    # Two aggregators with the same settings are mirror images: one of them speaks for both.
    asked = (0, 1) if scenario.rules[0] != scenario.rules[1] else (0,)
    return _ends(graph, asked)


def _expand(graph: _Graph, protocol: Protocol, scenario: Scenario, current: int) -> None:
    """Add every world that one step leads to."""
    world = graph.worlds[current]
    by_itself = [
        graph.number(after, current, step) for step, after in replica_steps(protocol, world)
    ]
    for me, rules in enumerate(scenario.rules):
        own = [
            graph.number(after, current, f"{'AB'[me]} {step}")
            for step, after in protocol_steps(protocol, rules, world, me)
        ]
        graph.alone[me].append(own + by_itself)
    for step, after in fault_steps(protocol, world):
        graph.number(after, current, step)


def broken_law(protocol: Protocol, world: World) -> Verdict | None:
    """Return how the replay law is broken in this world, None if it holds.

    A half-done apply is judged only when nobody is left who may still finish it.
    """
    if any(each.phase == "torn" for each in world.aggregators):
        return None
    return broken_store(protocol, world.store)


@functools.cache
def broken_store(protocol: Protocol, store: Store) -> Verdict | None:
    """Return how a store breaks the replay law, None if it is the fold of what it says it is."""
    fence = store.fence
    if fence is None:
        return None
    candidates = [
        history for (log_id, _), history in HISTORIES.items() if fence.log_id in (0, log_id)
    ]
    folds = [fold(store.rules, each[: fence.position], "") for each in candidates]
    if protocol.ids_expire == "wall_clock":
        right = store.counted in {counted_of(counted) for counted, _ in folds}
    else:
        right = (store.counted, store.known) in {
            (counted_of(counted), known) for counted, known in folds
        }
    return None if right else _kind(store, candidates)


def counted_of(counted: str) -> str:
    """Return a multiset of events in the one form in which the store writes it."""
    return "".join(sorted(counted))


def _kind(store: Store, candidates: Iterable[str]) -> Verdict:
    """Return in which way the counters of a broken store are wrong."""
    assert store.fence is not None
    own = [history for history in candidates if set(store.counted) <= set(history)]
    if not own:
        return "mixed"
    counted, _ = fold(store.rules, own[0][: store.fence.position], "")
    return "doubled" if Counter(store.counted) - Counter(counted) else "lost"


@functools.cache
def is_foreign(store: Store, log: Log) -> bool:
    """Return whether the present log really cannot carry on what the store has counted."""
    fence = store.fence
    if fence is None:
        return log.low > 0
    counted, _ = fold(store.rules, log.records[: fence.position], "")
    return (
        fence.log_id not in (0, log.log_id)
        or fence.position > len(log.records)
        or fence.position < log.low
        or store.counted != counted_of(counted)
    )


def is_goal(world: World, me: int) -> bool:
    """Return whether all is counted, or aggregator `me` has stopped with a true reason."""
    mine, store = world.aggregators[me], world.store
    if mine.phase == "stopped":
        return is_foreign(store, world.log) or (
            mine.reason == "other_rules" and store.fence is not None
        )
    at_end = store.fence is not None and store.fence.position == len(world.log.records)
    return at_end and not is_foreign(store, world.log)


def _ends(graph: _Graph, asked: Iterable[int]) -> Result:
    """Return whether each aggregator alone can, and must, reach the goal from every world."""
    for verdict, all_of_them in (("stuck", False), ("spins", True)):
        for me in asked:
            failed = _not_ending(graph, me, all_of_them=all_of_them)
            if failed is not None:
                kind: Verdict = "stuck" if verdict == "stuck" else "spins"
                return Result(kind, len(graph.worlds), graph.trace(failed), graph.worlds[failed])
    return Result("holds", len(graph.worlds))


def _not_ending(graph: _Graph, me: int, *, all_of_them: bool) -> int | None:
    """Return the nearest world from which `me` alone does not get to the goal.

    Worked backwards from the goal: a world is good if one of its steps (or, with `all_of_them`,
    each of its steps) leads to a good one.
    """
    before: list[list[int]] = [[] for _ in graph.worlds]
    waiting = [0] * len(graph.worlds)
    for number, following in enumerate(graph.alone[me]):
        distinct = set(following)
        waiting[number] = len(distinct) if all_of_them else 1
        for after in distinct:
            before[after].append(number)
    good = [is_goal(world, me) for world in graph.worlds]
    queue = [number for number, is_good in enumerate(good) if is_good]
    while queue:
        for number in before[queue.pop()]:
            waiting[number] -= 1
            if waiting[number] == 0 and not good[number]:
                good[number] = True
                queue.append(number)
    return next((number for number, is_good in enumerate(good) if not is_good), None)


def check_variant(variant: Variant) -> Result:
    """Check one variant of the table."""
    return check(variant.protocol, variant.scenario, variant.only)


def explain(variant: Variant, result: Result) -> str:
    """Return the counterexample of a variant, step by step, and what the store then holds."""
    lines = [f"{variant.name}: {result.verdict}. {variant.lesson}"]
    lines += [f"  {number:2}. {step}" for number, step in enumerate(result.trace, start=1)]
    if result.last is not None:
        store = result.last.store
        position = store.fence.position if store.fence else "none"
        lines.append(f"      store: position {position}, counted {store.counted or 'nothing'!r}")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and with `--steps` every counterexample."""
    started_at = time.perf_counter()
    details = []
    sys.stdout.write(f"{'variant':<44}{'states':>8}  {'verdict':<8} steps\n")
    for variant in VARIANTS:
        result = check_variant(variant)
        length = "" if result.verdict == "holds" else str(len(result.trace))
        sys.stdout.write(
            f"{variant.name:<44}{result.state_count:>8}  {result.verdict:<8} {length:>5}\n"
        )
        if result.verdict != "holds":
            details.append(explain(variant, result))
    sys.stdout.write(f"{time.perf_counter() - started_at:.1f} s\n")
    if "--steps" in sys.argv[1:]:
        sys.stdout.write("\n" + "\n\n".join(details) + "\n")


if __name__ == "__main__":
    main()
