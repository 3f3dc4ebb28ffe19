"""How many visitors one address may name where browsers keep their own id (DESIGN 3.5, `identity = "storage"`)."""

from __future__ import annotations

from collections import OrderedDict

NEW_VISITORS_AN_HOUR = 20
"""What one address may add in an hour; further ones count as the address itself (DESIGN 3.5)."""

HOUR_MS = 3_600_000
KNOWN_MAX = 200_000
ADDRESSES_MAX = 100_000

Known = tuple[str, bytes, str]


class VisitorLimit:
    """Remembers which visitors an address has named. The moment is an argument."""

    def __init__(self) -> None:
        """Begin with none known."""
        self._known: OrderedDict[Known, None] = OrderedDict()
        self._new: OrderedDict[tuple[str, bytes], tuple[int, int]] = OrderedDict()

    def admits(self, site: str, network: bytes, visitor: str, now: int) -> bool:
        """Claim that `visitor` may be told apart from others of its address at `now` (Unix milliseconds)."""
        known = (site, network, visitor)
        if known in self._known:
            self._known.move_to_end(known)
            return True
        hour, count = self._new.get((site, network), (-1, 0))
        if hour != now // HOUR_MS:
            hour, count = now // HOUR_MS, 0
        if count >= NEW_VISITORS_AN_HOUR:
            return False
        self._new[site, network] = (hour, count + 1)
        self._new.move_to_end((site, network))
        self._known[known] = None
        if len(self._new) > ADDRESSES_MAX:
            self._new.popitem(last=False)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return True
