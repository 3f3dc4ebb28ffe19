"""Refusals by site, local day and reason, written into the log so that the balance can be rebuilt from it (DESIGN 3.3).

A tally whose outcome is unknown is sent again as it is, with its id, and the fold counts it once; what was refused meanwhile goes
into the next one. A kill may lose one flush interval of refusals, never a view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.ingest.batcher import Batcher
from services.runtime.opening import new_id
from visits.codec import encode_record
from visits.errors import UnavailableError
from visits.record import VERSION, Tally
from visits.refusal import Refusal

FLUSH_SECONDS = 10.0
"""How often tallies are written (DESIGN 3.3)."""

SITES_A_FLUSH = 1_000
"""How many tallies wait for the log at once."""


class TallyBook:
    """Counts refusals until they are written."""

    def __init__(self, batcher: Batcher, partition_of: Callable[[str], int]) -> None:
        """Write through `batcher` to the partition of each site."""
        self._batcher = batcher
        self._partition_of = partition_of
        self._counts: dict[tuple[str, str], dict[str, int]] = {}
        self._unsure: list[Tally] = []

    @property
    def is_empty(self) -> bool:
        """Claim that everything refused so far is in the log."""
        return not self._counts and not self._unsure

    def add(self, site: str, day: str, reason: Refusal) -> None:
        """Book one refusal of a declared site on a local day."""
        counts = self._counts.setdefault((site, day), {})
        counts[reason.value] = counts.get(reason.value, 0) + 1

    async def flush(self, now: int) -> None:
        """Write what was counted; what the log does not acknowledge stays for the next time.

        Args:
            now: Unix milliseconds, the moment of the tallies.
        """
        self._unsure = await self._write_all(self._unsure)
        # At most one of unknown outcome a site and day: what is refused meanwhile is added up, so that an outage takes no room.
        waiting = {(tally.site, tally.day) for tally in self._unsure}
        fresh = {key: self._counts.pop(key) for key in self._counts.keys() - waiting}
        tallies = [
            Tally(
                v=VERSION,
                site=site,
                id=new_id(),
                at=now,
                received=now,
                day=day,
                refused=refused,
            )
            for (site, day), refused in fresh.items()
        ]
        self._unsure += await self._write_all(tallies)

    async def _write_all(self, tallies: list[Tally]) -> list[Tally]:
        """Return those of which it is not sure that the log has them."""
        unsure: list[Tally] = []
        for start in range(0, len(tallies), SITES_A_FLUSH):
            some = tallies[start : start + SITES_A_FLUSH]
            written = await asyncio.gather(*(self._write(tally) for tally in some))
            unsure += [tally for tally, done in zip(some, written, strict=True) if not done]
        return unsure

    async def _write(self, tally: Tally) -> bool:
        """Return whether the log has it for sure."""
        try:
            await self._batcher.submit(
                self._partition_of(tally.site), tally.site.encode(), encode_record(tally)
            )
        except UnavailableError:
            return False
        return True
