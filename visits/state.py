"""What goes between the fold and a store: what the fold wants to know, what the store answers, what it is told to change.

A store adapter turns these into its own commands and decides nothing. All amounts are integers within ±2^53, all moments Unix
milliseconds. Tables, by site unless said otherwise:

    counters    field (`visits.counters`) → amount
    pages       canonical page → views in all
    page_days   (site, local day) → canonical page → views of that day; kept 35 days of log time
    books       `name` and `YYYY-MM-DD:name` → how many requests ended as `name` (counted, duplicate or a refusal)
    ledger      delta id → entry (JSON)
    seen        pseudonym (8 bytes) → moment last seen
    ids         per partition: id hash (8 bytes) → log time at which it was remembered
"""

from __future__ import annotations

from msgspec import Struct, field

from visits.counters import DAY_MS, HOUR_MS, MINUTE_MS
from visits.fence import Fence

SCHEMA = 1
"""Version of the store's layout; a store with a greater one is never touched."""

FOLD_VERSION = 1
"""Version of the fold's rules; another one in the store means that its numbers came by other rules."""

ID_SLOT_MS = 10_000
"""How finely the ids' ages are booked for the cap, in milliseconds of log time."""


class Parameters(Struct, frozen=True):
    """What the fold goes by, fixed for the life of a generation (DESIGN 3.1); other values need a rebuild.

    Attributes:
        bucket_minutes: size of a bucket: 60, 30 or 15.
        visit_gap_ms: a gap above it begins a new visit (the Vietnamese state audience measure, Plausible, Matomo: 30 min).
        id_window_ms: how long of log time an id is remembered.
        ids_max: how many ids a partition remembers; more of them shorten the window.
        pages_max: how many pages of a site have a counter of their own.
        seen_ms: how long of log time a pseudonym is remembered: its local day, which may begin 26 h before another's, and a
            visit across midnight.
        page_days: how many days the views by page and day are kept.
        fold_version: the rules.
    """

    bucket_minutes: int = 60
    visit_gap_ms: int = 30 * MINUTE_MS
    id_window_ms: int = HOUR_MS
    ids_max: int = 1_000_000
    pages_max: int = 200_000
    seen_ms: int = 50 * HOUR_MS
    page_days: int = 35
    fold_version: int = FOLD_VERSION


class Meta(Struct, frozen=True):
    """What the whole store holds to; set once by the aggregator, compared by every service at its start."""

    schema: int
    log_id: str
    partitions: int
    bucket_minutes: int
    fold_version: int


class IdWindow(Struct):
    """Which remembered ids still count as known: by age, and by room.

    Attributes:
        floor: ids remembered at or before this log time are forgotten for want of room.
        counts: slot of log time (`ID_SLOT_MS`) → ids remembered in it.
        size: the sum of `counts`.
    """

    floor: int = -1
    counts: dict[int, int] = field(default_factory=dict)
    size: int = 0

    def remember(self, log_time: int, parameters: Parameters) -> None:
        """Book one id remembered at `log_time`; sheds the oldest slots while there are more than `ids_max`."""
        slot = log_time // ID_SLOT_MS
        self.size += 1
        if slot in self.counts:
            self.counts[slot] += 1
        else:
            self.counts[slot] = 1
            oldest = (log_time - parameters.id_window_ms) // ID_SLOT_MS
            for old in [old for old in self.counts if old < oldest]:
                self.size -= self.counts.pop(old)
        while self.size > parameters.ids_max and len(self.counts) > 1:
            first = min(self.counts)
            self.size -= self.counts.pop(first)
            self.floor = max(self.floor, (first + 1) * ID_SLOT_MS - 1)

    def known_after(self, log_time: int, parameters: Parameters) -> int:
        """Return the log time after which a remembered id is known."""
        return max(self.floor, log_time - parameters.id_window_ms - 1)


class Head(Struct, frozen=True):
    """The head of one partition's generation, read together with everything else in one atomic step.

    Attributes:
        generation: which generation is live.
        fence: up to where it is counted.
        as_of: the numbers hold for this moment.
        log_time: the greatest `received` so far.
        id_window: see `IdWindow`.
        parameters: see `Parameters`.
    """

    generation: int
    fence: Fence
    as_of: int
    log_time: int
    id_window: IdWindow
    parameters: Parameters


class Wanted(Struct):
    """What the fold must know before it can decide a batch; every list without repeats.

    Attributes:
        ids: id hashes.
        seen: site → pseudonyms.
        pages: site → pages.
        deltas: site → delta ids.
        counters: site → fields that a delta would change.
        whole_pages: sites of which every page, in all and by day, is needed (`forget-pages`).
    """

    ids: list[bytes] = field(default_factory=list)
    seen: dict[str, list[bytes]] = field(default_factory=dict)
    pages: dict[str, list[str]] = field(default_factory=dict)
    deltas: dict[str, list[str]] = field(default_factory=dict)
    counters: dict[str, list[str]] = field(default_factory=dict)
    whole_pages: list[str] = field(default_factory=list)


class State(Struct):
    """The store's answer to `Wanted`: what is there, and nothing for what is not.

    Attributes:
        page_counts: site → how many pages have a counter, `(other)` among them; for every site of `Wanted.pages`.
        page_days: site → local day (days since 1970-01-01) → page → views; for `Wanted.whole_pages`.
    """

    head: Head
    ids: dict[bytes, int] = field(default_factory=dict)
    seen: dict[str, dict[bytes, int]] = field(default_factory=dict)
    pages: dict[str, dict[str, int]] = field(default_factory=dict)
    page_counts: dict[str, int] = field(default_factory=dict)
    deltas: dict[str, set[str]] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    page_days: dict[str, dict[int, dict[str, int]]] = field(default_factory=dict)


class Batch(Struct):
    """What the store changes in one atomic step, if its generation is `generation` and its fence equals `before`.

    Order within the step: check everything, remove `pages_gone` and `page_days_gone`, add, set, forget, write the head.

    Attributes:
        before: the fence the batch was decided from.
        after: the fence once it is applied.
        as_of: what the head says then; never earlier than before.
        log_time: likewise.
        id_window: likewise.
        counters: site → field → amount to add.
        pages: site → page → views to add.
        pages_before: site → page → views it had, where the fold was told; a store may write sums without reading again.
        page_days: site → local day → page → views to add.
        books: site → field → amount to add.
        ledger: site → delta id → entry to set.
        seen: site → pseudonym → moment to set.
        ids: id hash → log time to set.
        ids_again: whether some of `ids` are remembered again after they were forgotten.
        pages_gone: site → pages to remove.
        page_days_gone: site → local day → pages to remove.
        page_counts: site → how many pages have a counter afterwards; for `visits.carry`, a store counts its own.
    """

    generation: int
    before: Fence
    after: Fence
    as_of: int
    log_time: int
    id_window: IdWindow
    parameters: Parameters
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    pages: dict[str, dict[str, int]] = field(default_factory=dict)
    pages_before: dict[str, dict[str, int]] = field(default_factory=dict)
    page_days: dict[str, dict[int, dict[str, int]]] = field(default_factory=dict)
    books: dict[str, dict[str, int]] = field(default_factory=dict)
    ledger: dict[str, dict[str, bytes]] = field(default_factory=dict)
    seen: dict[str, dict[bytes, int]] = field(default_factory=dict)
    ids: dict[bytes, int] = field(default_factory=dict)
    ids_again: bool = False
    pages_gone: dict[str, list[str]] = field(default_factory=dict)
    page_days_gone: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    page_counts: dict[str, int] = field(default_factory=dict)

    @property
    def ids_known_after(self) -> int:
        """Remembered ids at or before this log time are known no more; removing them is housekeeping."""
        return self.id_window.known_after(self.log_time, self.parameters)

    @property
    def seen_before(self) -> int:
        """Pseudonyms last seen before this moment are forgotten; removing them is housekeeping."""
        return self.log_time - self.parameters.seen_ms

    @property
    def page_days_before(self) -> int:
        """Views by page of local days before this one are forgotten; removing them is housekeeping."""
        return self.log_time // DAY_MS - self.parameters.page_days

    @property
    def sites(self) -> set[str]:
        """Every site the batch changes anything of."""
        return set().union(
            self.counters, self.pages, self.page_days, self.books, self.ledger, self.seen,
            self.pages_gone, self.page_days_gone,
        )  # fmt: skip
