"""The port for generations beside the live one: how a store is rebuilt, compared, saved and filled again (DESIGN 3.6).

A partition has one *live* generation, which the pointer names, at most one *shadow*, which a rebuild or a restore fills, and any number
of *doomed* ones, each with the moment from which it may be removed: the former live one, an atomic copy, a shadow nobody goes on
with. A shadow is doomed too, always an hour ahead of whoever fills it, so that nothing stays for ever after a kill.

Everything is one partition's and one atomic step, but for scans and loads. Bounds and errors are those of `CounterStore`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from visits.counters import HOUR_MS, MINUTE_MS
from visits.fence import Fence
from visits.state import Head, Meta

if TYPE_CHECKING:
    from services.backends.port import CounterStore

SHADOW_KEPT_MS = HOUR_MS
"""How long a shadow or a copy outlives the last sign of whoever made it."""

RETIRED_KEPT_MS = 10 * MINUTE_MS
"""How long the former live generation stays for readers who are in the middle of it (DESIGN 3.6)."""

ROWS_AT_ONCE = 2_000
"""Rows of one step of a scan, and the most of one load."""

Rows = Mapping[Any, Any]
"""Some rows of a table: name → amount, moment or entry. A name is a text, 8 bytes (`seen`, `ids`), or (local day, page)."""


class Table(StrEnum):
    """The tables of a generation, as `visits.state` describes them."""

    COUNTERS = "counters"
    PAGES = "pages"
    PAGE_DAYS = "page_days"
    BOOKS = "books"
    LEDGER = "ledger"
    SEEN = "seen"
    IDS = "ids"
    """The partition's, not a site's: the site is empty."""


SITE_TABLES = tuple(table for table in Table if table is not Table.IDS)


class Overview(Struct, frozen=True):
    """Which generations a partition has.

    Attributes:
        live: the one the pointer names, 0 for none.
        shadow: the one being filled, 0 for none.
        doomed: generation → from when on it may be removed (Unix milliseconds).
    """

    live: int
    shadow: int
    doomed: dict[int, int]


class Swapped(Struct, frozen=True):
    """The shadow is live now.

    Attributes:
        generation: its number.
    """

    generation: int


class Behind(Struct, frozen=True):
    """Nothing was changed: the live generation is counted further, or from another log.

    Attributes:
        live: its fence.
    """

    live: Fence


class Moved(Struct, frozen=True):
    """Nothing was changed: there is no such shadow with a fence, or the pointer moved in between."""


class Generations(Protocol):
    """All generations of a store that is open."""

    def shadow(self) -> CounterStore:
        """Return the store as seen through the shadow: `begin` makes one, `read_state`, `apply` and `touch` work on it.

        Of the reading half only `head` and `dump` are promised.
        """

    async def overview(self, partition: int) -> Overview:
        """Return which generations there are."""

    async def keep(self, partition: int, generation: int, until: int) -> None:
        """Put off the removal of a doomed generation; nothing where it is gone."""

    async def discard(self, partition: int) -> None:
        """Leave the shadow to be removed at once; nothing where there is none."""

    async def swap(
        self, partition: int, generation: int, now: int, over: Fence | None = None
    ) -> Swapped | Behind | Moved:
        """Make the shadow live, if it is counted at least as far as the live one from the same log.

        The former live one is removed `RETIRED_KEPT_MS` after `now`. Not idempotent, but safe to repeat: then it is `Moved`.

        Args:
            partition: which.
            generation: the shadow meant.
            now: Unix milliseconds.
            over: a live fence that may be passed over although it lies ahead or in another log; only exactly this one.
        """

    async def freeze(self, partition: int, until: int) -> Head | None:
        """Copy the live generation in one atomic step, doomed from `until`; return the copy's head, `None` where nothing is live."""

    async def sweep(self, partition: int, now: int) -> bool:
        """Remove a slice of what is doomed; claim that there may be more to remove now."""

    async def sites(self, partition: int, generation: int) -> list[str]:
        """Return the sites with anything, sorted."""

    def scan(
        self, partition: int, generation: int, table: Table, site: str
    ) -> AsyncIterator[dict[Any, Any]]:
        """Yield a table of a generation some thousand rows at a time; a row may come twice.

        Of `ids` also the log time is ascending where the store keeps it so (SQLite). Of a generation that is being written, what is
        written meanwhile may or may not be in it.
        """

    async def look_up(
        self, partition: int, generation: int, table: Table, site: str, names: Sequence[Any]
    ) -> dict[Any, Any]:
        """Return the rows of some names that are there."""

    async def start_load(self, partition: int, now: int) -> int:
        """Make a shadow without a fence, to be loaded; a former one is left to be removed. Return its number."""

    async def load(
        self, partition: int, generation: int, table: Table, site: str, rows: Rows, head: Head
    ) -> None:
        """Put rows into a shadow without a fence; at most `ROWS_AT_ONCE`. `ids` come oldest first.

        Args:
            partition: which.
            generation: of `start_load`.
            table: where to.
            site: whose; empty for `ids`.
            rows: what.
            head: the head that `finish_load` will write.
        """

    async def finish_load(self, partition: int, generation: int, head: Head) -> None:
        """Give a loaded shadow its fence; from now on it can be counted on and swapped. The head's own generation is not read.

        Raises:
            StoreUnavailableError: it is no longer the shadow.
        """

    async def replace_meta(self, meta: Meta) -> None:
        """Set what the store holds to, whatever stood there."""

    async def note_backup(self, at: int) -> None:
        """Note when the last backup was complete (Unix milliseconds)."""

    async def backed_up_at(self) -> int:
        """Return when the last backup was complete, 0 for never."""


def reaches(mine: Fence, live: Fence) -> bool:
    """Claim that a generation is counted from the same log at least as far as another."""
    if mine.position == live.position:
        return mine == live
    return mine.log_id == live.log_id and mine.position > live.position
