"""How many visitors one address may name."""

from __future__ import annotations

from services.ingest.visitor import HOUR_MS, NEW_VISITORS_AN_HOUR, VisitorLimit

NETWORK = b"\xc0\x00\x02\x01"


def test_new_visitors_are_bounded_and_known_ones_stay() -> None:
    """An address names so many new visitors an hour; those it named before remain visitors."""
    limit = VisitorLimit()
    names = [f"visitor-{n:08d}" for n in range(NEW_VISITORS_AN_HOUR + 1)]
    assert [limit.admits("s", NETWORK, name, 0) for name in names] == [
        *[True] * NEW_VISITORS_AN_HOUR,
        False,
    ]
    assert limit.admits("s", NETWORK, names[0], 1)
    assert limit.admits("s", b"\x01", names[-1], 1)
    assert limit.admits("s", NETWORK, names[-1], HOUR_MS)
    assert limit.admits("s", NETWORK, names[0], HOUR_MS)
