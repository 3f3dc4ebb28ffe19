"""What a webmaster who installs the counter is told of his own browser's views: the last few, for who watches, in memory alone.

Nobody's views are looked at unless a browser asked for its own within ten minutes, and each is told of views from its own address
and with its own user agent only. Neither is kept: a watch goes by a hash under a key that this process makes at its start.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from hashlib import blake2b

from msgspec import Struct

from visits.refusal import Refusal

WATCHERS_MAX = 256
"""How many browsers may watch at once; one more ends the oldest watch."""

WATCH_SECONDS = 600.0
"""How long a browser is watched after it last asked."""

SIGHTINGS_MAX = 10
"""How many views are told."""

KEY_BYTES = 32


class Sighting(Struct, frozen=True):
    """One view that arrived; not its page, which may be another reader's with the same address and browser.

    Attributes:
        at: when (monotonic seconds).
        site: as its sender named it.
        id: likewise; empty where it named none and was refused.
        reason: why it was refused; `None`: it is counted.
        hint: what mends that.
        position: `partition:position` where it was counted.
    """

    at: float
    site: str
    id: str
    reason: Refusal | None
    hint: str
    position: str


class _Watch(Struct):
    until: float
    sightings: deque[Sighting]


class ArrivalWatch:
    """Remembers the last views of those who watch."""

    def __init__(self) -> None:
        """Begin with nobody watching."""
        self._key = secrets.token_bytes(KEY_BYTES)
        self._watches: OrderedDict[bytes, _Watch] = OrderedDict()

    def __bool__(self) -> bool:
        """Claim that somebody watches; else nothing need be told."""
        return bool(self._watches)

    def who(self, network: bytes, user_agent: str) -> bytes:
        """Return what stands for a browser while this process lives."""
        hashed = blake2b(network, digest_size=16, key=self._key)
        hashed.update(b"\0" + user_agent.encode("utf-8", "surrogatepass"))
        return hashed.digest()

    def watch(self, who: bytes, now: float) -> list[Sighting]:
        """Begin or prolong a browser's watch; return what was seen of it, latest first."""
        while self._watches and next(iter(self._watches.values())).until <= now:
            self._watches.popitem(last=False)
        found = self._watches.pop(who, None) or _Watch(0.0, deque(maxlen=SIGHTINGS_MAX))
        found.until = now + WATCH_SECONDS
        self._watches[who] = found
        if len(self._watches) > WATCHERS_MAX:
            self._watches.popitem(last=False)
        return list(reversed(found.sightings))

    def see(self, who: bytes, sighting: Sighting) -> None:
        """Remember a view of a browser that watches; of others nothing is kept."""
        watch = self._watches.get(who)
        if watch is not None and watch.until > sighting.at:
            watch.sightings.append(sighting)
