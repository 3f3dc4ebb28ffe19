"""The two ports between the services and what keeps their data (DESIGN 3.2, 3.6).

Two pairs of adapters implement them: Kafka + Redis for production, SQLite + SQLite for one small portal; `memory` holds the
fakes. One contract suite (`tests/contract/`) runs the same laws on all of them. An adapter converts and calls; it decides nothing.

Every method has a bound on its time: it returns, or raises a `visits.errors.UnavailableError`, within about `TIMEOUT_SECONDS`
unless it says otherwise. All moments are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, Self

from msgspec import Struct

from services.backends.generation import Generations
from visits.codec import DeadRecord, LogRecord
from visits.fence import Fence
from visits.state import Batch, Head, Meta, Parameters, State, Wanted

TIMEOUT_SECONDS = 10.0
"""The bound on one call to a log or a store; an append not acknowledged in it is given up (DESIGN 3.4)."""

BATCH_BYTES_MAX = 512 * 1024
"""The most bytes of values in one append (DESIGN 3.4): half of Kafka's default message limit."""

BATCH_RECORDS_MAX = 5_000
"""The most records in one append (DESIGN 3.4)."""

FETCH_RECORDS_MAX = 20_000
"""The most records in one fetch, of all partitions together: about 10 MB."""


class Extent(Struct, frozen=True):
    """What positions of a partition the log holds: `begin` to `end` - 1."""

    begin: int
    end: int


class Identity(Struct, frozen=True):
    """Which log it is, in one answer with what tells that its records may have changed all the same.

    Attributes:
        log_id: another value after a topic or file was made anew.
        epochs: partition → a number that changes whenever another server, or one that was away, begins to serve it: then a record
            that was read may have been lost and replaced under the same `log_id`. Empty where that cannot happen.
    """

    log_id: str
    epochs: dict[int, int] = {}


class Disk(Struct, frozen=True):
    """A disk of a server of the log.

    Attributes:
        name: server and folder.
        taken_bytes: what of this log lies there.
        free_bytes: room that is left.
    """

    name: str
    taken_bytes: int
    free_bytes: int


class Fetched(Struct, frozen=True):
    """Records of one partition, in order.

    Attributes:
        partition: where they were read.
        epoch: the value of `LogConsumer.seek` these records follow; records of an older seek are to be dropped.
        records: dense, possibly empty (then only `end` is news).
        end: the position after the log's last record as far as the consumer knows.
        heard_at: when the log itself said so; a client whose broker is away gives out no records and no error for long.
    """

    partition: int
    epoch: int
    records: tuple[LogRecord, ...]
    end: int
    heard_at: int


class LogConsumer(Protocol):
    """Reads the partitions that are assigned to this process; knows nothing of what has been counted.

    A partition that was just assigned hands out nothing until `seek`. Rebalances may happen at any await; they show in
    `assigned`.
    """

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions this process reads now."""

    def generation(self, partition: int) -> int:
        """Return a number that changes whenever `partition` was newly assigned, so that its position must be read again."""

    async def seek(self, partition: int, position: int) -> int:
        """Read on from `position`; return the epoch that the records which follow carry."""

    async def fetch(self, wait_seconds: float) -> list[Fetched]:
        """Return what has arrived, at most one item a partition and `FETCH_RECORDS_MAX` records in all.

        Waits up to `wait_seconds` for the first record. Records that precede the latest `seek` of their partition are dropped.

        Raises:
            LogUnavailableError: the log does not answer; try again.
        """

    async def extent(self, partition: int) -> Extent:
        """Return what the log holds of a partition now."""

    async def note_position(self, positions: dict[int, int]) -> None:
        """Tell lag tools how far each partition is counted (Kafka: commit). Best effort: never raises, never read back."""

    async def close(self) -> None:
        """Leave the group. Never raises; bounded to 5 s."""


class EventLog(Protocol):
    """A durable, partitioned, append-only log. Positions of a partition are dense and begin at 0.

    Attributes:
        rebuilds: how often what appends was given up and made anew; 0 where that cannot happen.
    """

    rebuilds: int

    @property
    def partitions(self) -> int:
        """How many partitions the log has, fixed for its life; known after `open`."""

    async def open(self) -> Self:
        """Connect; create the topic or the table if missing.

        Raises:
            LogUnavailableError: cannot be reached; try again.
            SettingsError: an existing topic differs from what this project needs (names setting, value and mend).
        """

    async def log_id(self) -> str:
        """Ask the log (never a cache) which log it is: another value after a topic or file was made anew.

        Raises:
            LogUnavailableError: does not answer, or the topic is away.
        """

    async def identity(self) -> Identity:
        """Ask the log (never a cache) which log it is and who serves its partitions.

        Records that were fetched before this is called, under an answer equal to an earlier one, follow those fetched before them:
        whoever asks after each fetch and finds its place again on a change reads one history (`tests/model/`, row M).

        Raises:
            LogUnavailableError: does not answer, or the topic is away.
        """

    async def disks(self) -> list[Disk]:
        """Return the disks of the log's servers; empty where they do not tell. Never raises."""

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        """Append (key, value) pairs as one batch and return the position of the first once they are durable.

        Durable means: acknowledged by all in-sync replicas, or fsynced. Not idempotent: after an error the batch may or may not
        be in the log, and is never sent again by the adapter once this has raised.

        Args:
            partition: where to.
            records: 1 to `BATCH_RECORDS_MAX`, `BATCH_BYTES_MAX` of values in all.

        Returns:
            The first position, or `None` where the log acknowledged without telling it.

        Raises:
            LogUnavailableError: not acknowledged in `TIMEOUT_SECONDS`; the outcome is unknown.
        """

    async def bury(self, partition: int, dead: Sequence[DeadRecord]) -> None:
        """Put records that cannot be read, with the reasons, into the dead letters. At least once: repeated after a crash.

        Raises:
            LogUnavailableError: not acknowledged.
        """

    async def consumer(self) -> LogConsumer:
        """Join the group of aggregators and start to read."""

    async def replay(self, partition: int) -> LogConsumer:
        """Read one partition, beside the aggregators and unknown to them: it is assigned from the start and stays so.

        Raises:
            LogUnavailableError: the log does not answer.
        """

    async def close(self) -> None:
        """Release everything. Never raises; bounded to 5 s."""


class Applied(Struct, frozen=True):
    """The batch changed the store, now or when an earlier reply was lost (`already`)."""

    already: bool = False


class Miss(Struct, frozen=True):
    """The store stands elsewhere; nothing was changed.

    Attributes:
        stored: the live generation's fence, `None` where there is no generation.
        generation: the live generation, 0 where there is none.
    """

    stored: Fence | None
    generation: int


class Reading(Struct, frozen=True):
    """Numbers of one site, read in one atomic step with the head they belong to.

    Attributes:
        head_position: the fence's position.
        log_id: the fence's log.
        generation: which generation.
        as_of: the moment the numbers hold for.
        values: in the order asked; 0 for a counter that is not there; `None` for a page that is not there.
        online: readers seen within the asked time; 0 where none was asked.
        has_other: `(other)` has views: a page that is not there may be in it.
        bucket_minutes: the size of the generation's buckets.
    """

    head_position: int
    log_id: str
    generation: int
    as_of: int
    values: tuple[int | None, ...]
    online: int = 0
    has_other: bool = False
    bucket_minutes: int = 60


class Account(Struct, frozen=True):
    """What a site's books are closed from, read in one atomic step with the head it belongs to.

    Attributes:
        head: the live head.
        counters: field → amount, those asked for that are there.
        books: `name` and `YYYY-MM-DD:name` → amount.
        ledger: the entries (JSON), in no order.
    """

    head: Head
    counters: dict[str, int]
    books: dict[str, int]
    ledger: list[bytes]


class CounterStore(Protocol):
    """Counters and the state of the fold, one atomic step at a time, on the primary.

    Only the aggregator calls the writing half. A key of a wrong type raises `PartitionStoppedError(store_corrupt)` naming the key,
    before anything is written.
    """

    @property
    def schema(self) -> int:
        """The version of the layout that this adapter reads and writes; what was written by another one is not touched."""

    async def open(self) -> Self:
        """Connect and check the server (Redis: `maxmemory_policy` must be `noeviction`).

        Raises:
            StoreUnavailableError: cannot be reached; try again.
            SettingsError: the server or the file is not fit; names what to change.
        """

    async def meta(self) -> Meta | None:
        """Return what the store holds to, `None` where nothing was ever counted."""

    async def put_meta(self, meta: Meta) -> Meta:
        """Set `meta` if there is none; return what now stands there."""

    async def begin(self, partition: int, log_id: str, parameters: Parameters) -> Head:
        """Make the first generation of a partition, at position 0, if there is none; return the live head."""

    async def head(self, partition: int) -> Head | None:
        """Return the live head, `None` where there is no generation or it has no fence."""

    async def read_state(self, partition: int, generation: int, wanted: Wanted) -> State | None:
        """Read everything `wanted` and the head in one atomic step; `None` when `generation` is not live or has no fence."""

    async def apply(self, partition: int, batch: Batch) -> Applied | Miss:
        """Apply a batch in one atomic step, if its generation is live and the stored fence equals `batch.before`.

        Idempotent by the fence: a batch whose `after` is already stored answers `Applied(already=True)`. After an error the
        outcome is unknown and the same batch may simply be applied again.

        Raises:
            StoreUnavailableError: no answer, or out of memory, loading, read-only, moved: try again.
            PartitionStoppedError: `store_corrupt`; nothing was written.
        """

    async def touch(
        self, partition: int, generation: int, fence: Fence, as_of: int
    ) -> Applied | Miss:
        """Say that the numbers at `fence` hold for `as_of`, under the same fence as `apply`; `as_of` never goes back."""

    async def read_counters(
        self, partition: int, site: str, fields: Sequence[str], online_after: int, online_until: int
    ) -> Reading | None:
        """Read counters and count who was seen in (`online_after`, `online_until`]; `None` where nothing is counted yet."""

    async def read_pages(self, partition: int, site: str, pages: Sequence[str]) -> Reading | None:
        """Read the views in all of some pages; `None` where nothing is counted yet."""

    async def read_ledger(self, partition: int, site: str) -> list[bytes]:
        """Return the ledger's entries (JSON), in no order."""

    async def read_books(self, partition: int, site: str) -> dict[str, int]:
        """Return all of a site's books: `name` and `YYYY-MM-DD:name` → amount."""

    def scan_pages(
        self, partition: int, site: str, day: int | None
    ) -> AsyncIterator[dict[str, int]]:
        """Yield the views of every page of a site, in all or of one local day (days since 1970-01-01), some thousand at a time.

        Not one atomic step, so that neither the store nor this process stands still for 200,000 pages: what is counted meanwhile
        may or may not be in it, a page may come twice. Nothing where nothing is counted.
        """

    def scan_counters(self, partition: int, site: str) -> AsyncIterator[dict[str, int]]:
        """Yield all counters of a site, some thousand at a time; as `scan_pages`, not one atomic step."""

    async def read_account(
        self, partition: int, site: str, fields: Sequence[str]
    ) -> Account | None:
        """Return some counters with all books and the ledger, in one atomic step; `None` where nothing is counted yet."""

    async def put_salt(self, day: str, salt: bytes) -> bytes:
        """Keep `salt` for a local date (ISO 8601) if there is none; return the one that stands there."""

    async def salts(self, days: Sequence[str]) -> dict[str, bytes]:
        """Return the salts there are."""

    async def forget_salts(self, before: str) -> None:
        """Destroy the salts of all dates before `before`, on disk too."""

    async def ping(self) -> None:
        """Answer quickly if the store can be used.

        Raises:
            StoreUnavailableError: it cannot.
        """

    async def dump(self, partition: int) -> dict[str, object]:
        """Return everything of the live generation in a form that is equal for equal states, whatever the backend.

        For tests, `rebuild --verify` and backups of small partitions, not for the hot path. Keys: `counters`, `pages`,
        `page_days`, `books`, `ledger`, `seen`, `ids` (each site → …, `ids` flat), `fence`, `log_time`, `id_window`. What is
        forgotten by log time (`Batch.ids_known_after` …) is left out, whether or not it was removed already. Hashes and pseudonyms
        are hexadecimal texts, days ISO-less integers.
        """

    def generations(self) -> Generations:
        """Return the port to the generations beside the live one; the store must be open."""

    async def close(self) -> None:
        """Release everything. Never raises; bounded to 5 s."""


StoreFactory = Callable[[], Awaitable[CounterStore]]
