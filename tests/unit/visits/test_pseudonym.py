"""Pseudonyms: making many of one site and day is the same as making each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from visits.pseudonym import pseudonym, pseudonym_maker


@given(
    some.binary(min_size=32, max_size=32),
    some.text(max_size=63),
    some.lists(some.tuples(some.binary(max_size=80), some.text(max_size=80))),
)
def test_many_at_a_time_are_the_same(
    salt: bytes, site: str, readers: list[tuple[bytes, str]]
) -> None:
    """One maker's pseudonyms do not depend on those it made before."""
    make = pseudonym_maker(salt, site)
    for network, user_agent in readers:
        assert make(network, user_agent) == pseudonym(salt, site, network, user_agent)
