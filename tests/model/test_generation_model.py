"""Rebuilding beside live counting holds in every reachable world, and each weakening fails as the table says."""

from __future__ import annotations

import dataclasses

import pytest

from tests.model.generation_model import (
    VARIANTS,
    Generation,
    Protocol,
    Variant,
    broken_law,
    check,
    first_world,
)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_variant_ends_as_the_table_says(variant: Variant) -> None:
    """The product holds; each weakening loses, or gives a reader what is less than it was."""
    result = check(variant.protocol)
    assert result.verdict == variant.expected, "\n".join(result.trace)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_wrong_variant_differs_from_the_product_in_little(variant: Variant) -> None:
    """A variant that fails names a cause: at most two settings, beside the rules of the rebuild."""
    product = Protocol(rules=variant.protocol.rules)
    changed = [
        each.name
        for each in dataclasses.fields(Protocol)
        if getattr(variant.protocol, each.name) != getattr(product, each.name)
    ]
    assert len(changed) <= 2
    assert bool(changed) or variant.expected == "holds"


def test_the_law_tells_a_true_generation_from_a_wrong_one() -> None:
    """A double, a loss and the truth, by the rules of the generation itself."""
    world = first_world()
    for position, counted, rules, verdict in (
        (3, "ab", "once", ""),
        (3, "aab", "every", ""),
        (3, "aab", "once", "doubled"),
        (3, "ab", "every", "lost"),
        (-1, "", "once", ""),
    ):
        held = (Generation(position, counted, "", rules),)
        assert broken_law(world._replace(generations=held)) == verdict
