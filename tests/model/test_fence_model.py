"""The product's protocol holds in every reachable world, and each wrong variant fails in its way.

The whole table takes about ten seconds; run `python -m tests.model.fence_model --steps` to read it.
"""

from __future__ import annotations

import dataclasses
import functools

import pytest

from tests.model.fence_model import Result, broken_law, check, check_variant, explain, is_goal
from tests.model.variants import VARIANTS, Variant
from tests.model.world import Aggregator, Fence, Protocol, Scenario, fence_at, first_world

PRODUCT = Protocol()
searched = functools.cache(check)
"""`check`, asked once for each pair of protocol and scenario."""

SHORTEST_STEPS = {
    "A no fence": 5,
    "B stored <= start": 9,
    "I log id asked only when seeking and idle": 5,
    "S state read before the fence": 12,
    "X fence written before the counters": 5,
}
"""Known lengths. A longer shortest way means that the model lost a step that the world has."""


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_variant_ends_as_the_table_says(variant: Variant) -> None:
    """The product holds; each weakening doubles, loses, mixes, sticks or spins as foretold."""
    result = searched(variant.protocol, variant.scenario, variant.only)
    assert result.verdict == variant.expected, explain(variant, result)
    if variant.name in SHORTEST_STEPS:
        assert len(result.trace) == SHORTEST_STEPS[variant.name], explain(variant, result)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_wrong_variant_differs_from_the_product_in_little(variant: Variant) -> None:
    """A variant that fails differs in at most two settings: it names a cause."""
    changed = [
        each.name
        for each in dataclasses.fields(Protocol)
        if getattr(variant.protocol, each.name) != getattr(PRODUCT, each.name)
    ]
    assert len(changed) <= 2
    assert bool(changed) or variant.expected == "holds"


@pytest.mark.parametrize(
    "variant",
    [each for each in VARIANTS if each.expected != "holds"],
    ids=lambda variant: variant.name,
)
def test_the_product_survives_the_faults_of_every_wrong_variant(variant: Variant) -> None:
    """What breaks a variant is the setting it changed: the product bears the same faults."""
    result = searched(PRODUCT, variant.scenario, "")
    assert result.verdict == "holds", explain(variant, result)


def test_the_search_is_not_empty() -> None:
    """The product holds in tens of thousands of worlds, not for want of faults."""
    widest = next(each for each in VARIANTS if "topic anew" in each.name)
    assert searched(widest.protocol, widest.scenario, widest.only).state_count > 50_000


def test_a_correct_store_breaks_no_law_and_a_wrong_one_does() -> None:
    """The law itself tells a double, a loss and a mixture apart from the truth."""
    world = first_world(Scenario())
    protocol = PRODUCT
    for position, counted, known, verdict in (
        (0, "", "", None),
        (2, "ab", "ab", None),
        (3, "ab", "ab", None),
        (3, "aab", "ab", "doubled"),
        (3, "a", "ab", "lost"),
        (2, "ac", "ac", "mixed"),
    ):
        fence = protocol_fence(position)
        store = world.store._replace(fence=fence, counted=counted, known=known, rules="once")
        assert broken_law(protocol, world._replace(store=store)) == verdict


def test_a_named_state_is_an_end_only_while_it_is_true() -> None:
    """An aggregator that stops although the log is the right one has not done its work."""
    world = first_world(Scenario())
    stopped = Aggregator("stopped", reason="wrong_log")
    store = world.store._replace(fence=protocol_fence(0), rules="once")
    world = world._replace(store=store, aggregators=(stopped, stopped))
    assert not is_goal(world, 0)
    other_log = world.log._replace(log_id=2, records="cdc")
    assert is_goal(world._replace(log=other_log), 0)


def test_a_counterexample_ends_with_what_the_store_holds() -> None:
    """The printed explanation lets a reader see the wrong number without running anything."""
    variant = next(each for each in VARIANTS if each.name == "A no fence")
    result = check_variant(variant)
    assert isinstance(result, Result)
    assert explain(variant, result).endswith("store: position 1, counted 'aa'")


def protocol_fence(position: int) -> Fence:
    """Return the fence of the first log at a position."""
    return fence_at(PRODUCT, first_world(Scenario()).log, position)
