"""The salts of the local dates that matter now, in memory, and in the store for the other processes (DESIGN 3.5).

One random salt a local date, shared by all sites and processes: the first to write it wins. There is one for every date that
an event of the last 24 hours may have, for visits that go on over midnight and for batches, and for the date 12 hours ahead; what
the store lost comes back from memory; what is older is destroyed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from services.backends.port import CounterStore
from visits.counters import DAY_MS, MINUTE_MS
from visits.errors import PartitionStoppedError, StoppedState
from visits.pseudonym import SALT_BYTES
from visits.window import local_day

AHEAD_MS = 12 * 60 * MINUTE_MS
"""How long before its day a salt is made, so that a store that is away at midnight stops nobody."""

FORGET_EVERY_MS = 60 * MINUTE_MS
"""How often old salts are destroyed."""


class SaltKeeper:
    """Keeps the salts of yesterday, today and tomorrow."""

    def __init__(self, store: CounterStore, zones: Callable[[], Iterable[ZoneInfo]]) -> None:
        """Keep salts for the local dates of `zones`, which are asked for at every refresh."""
        self._store = store
        self._ask_zones = zones
        self._zones = frozenset(zones())
        self._salts: dict[str, bytes] = {}
        self._forgotten_at: int | None = None

    def salt(self, day: str) -> bytes | None:
        """Return the salt of a local date (ISO 8601), `None` where it was never seen."""
        return self._salts.get(day)

    def is_ready(self, now: int) -> bool:
        """Claim that every site's readers can be told apart at `now` (Unix milliseconds)."""
        return all(local_day(now, zone).isoformat() in self._salts for zone in self._zones)

    async def refresh(self, now: int) -> None:
        """Fetch, make and put back salts, and once an hour destroy the old ones.

        Args:
            now: Unix milliseconds.

        Raises:
            StoreUnavailableError: some are as they were.
        """
        self._zones = frozenset(self._ask_zones())
        todays = [local_day(now, zone) for zone in self._zones]
        if not todays:
            return
        kept = {day - timedelta(days=1) for day in todays}
        # After a day of 23 h, 24 h ago may lie in the day before yesterday.
        kept |= {local_day(now - DAY_MS, zone) for zone in self._zones}
        kept |= {*todays, *(local_day(now + AHEAD_MS, zone) for zone in self._zones)}
        oldest = min(kept)
        self._salts = {day: salt for day, salt in self._salts.items() if day >= oldest.isoformat()}
        standing = await self._store.salts([day.isoformat() for day in sorted(kept)])
        for day in sorted(kept):
            await self._settle(day, standing.get(day.isoformat()))
        await self._forget(oldest, now)

    async def _settle(self, day: date, standing: bytes | None) -> None:
        """Agree with the store on one day's salt: the store's if it has one, else ours, else a new one."""
        name = day.isoformat()
        if standing is None:
            ours = self._salts.get(name) or secrets.token_bytes(SALT_BYTES)
            standing = await self._store.put_salt(name, ours)
        if len(standing) != SALT_BYTES:
            detail = f"the salt of {name} has {len(standing)} bytes, not {SALT_BYTES}"
            raise PartitionStoppedError(StoppedState.STORE_CORRUPT, detail)
        self._salts[name] = standing

    async def _forget(self, oldest: date, now: int) -> None:
        if self._forgotten_at is not None and now - self._forgotten_at < FORGET_EVERY_MS:
            return
        await self._store.forget_salts(oldest.isoformat())
        self._forgotten_at = now
