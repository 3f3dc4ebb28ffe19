"""What a site's numbers read, and how old they are: from the store, through a short cache, never a false 0.

A late number says that it is late; a store that is away or went back in time leaves the last good numbers standing, marked stale.
"""

from __future__ import annotations

import asyncio
import time
from hashlib import blake2b
from typing import Any

import msgspec
import structlog

from services.api.metrics import ApiMetrics
from services.api.patience import Patience
from services.backends.port import CounterStore, Reading
from services.runtime.clock import now_ms
from services.runtime.direct import head_of
from services.runtime.problem import ProblemError
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.counters import MINUTE_MS, Metric
from visits.errors import PageError, PartitionStoppedError, UnavailableError
from visits.page import OTHER
from visits.partition import partition_of
from visits.state import Meta
from visits.window import Plan, Range, Windows, iso, plan

STALE_MS = 5_000
"""Numbers older than this are stale (DESIGN 3.2)."""

FRESH_SECONDS = 0.05
"""A cached answer is this old at most: the store is read 20 times a second a site at most."""

PATIENCE_SECONDS = 1.0
"""A reading that takes longer than this is not waited for where there is a last good answer."""

CACHED = "public, max-age=5, stale-while-revalidate=60, stale-if-error=86400"
CORS = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
HTTP_OK, HTTP_NOT_MODIFIED = 200, 304

log = structlog.get_logger()
_encoder = msgspec.json.Encoder()


class Answer(msgspec.Struct, frozen=True):
    """One site's numbers.

    Attributes:
        numbers: `online` and every window.
        ranges: window → range; the running ones end with `moment`.
        moment: for which the windows were cut (Unix milliseconds).
        as_of: for which the numbers hold.
        stale: they are late.
        reading: what they came from.
    """

    numbers: dict[str, int]
    ranges: dict[str, Range]
    moment: int
    as_of: int
    stale: bool
    reading: Reading


class Key(msgspec.Struct, frozen=True):
    """What one cached answer is of."""

    site: str
    metric: Metric
    windows: Windows


class Rendered(msgspec.Struct, frozen=True):
    """One site's numbers as they go over the wire, rendered once for all who ask.

    Attributes:
        answer: the numbers.
        body: the JSON.
        tag: the entity tag of the numbers and `stale`, not of the moment (RFC 9110 section 8.8.3).
        head: what a 200 begins with (`services.runtime.direct`).
        head_not_modified: what a 304 begins with.
    """

    answer: Answer
    body: bytes
    tag: str
    head: bytes
    head_not_modified: bytes


class Readings:
    """Reads the store, holds the last good answers, and lets many who ask at once share one reading."""

    def __init__(
        self, configuration: Configuration, store: CounterStore, metrics: ApiMetrics
    ) -> None:
        """Take an opened store."""
        self.configuration = configuration
        self.store = store
        self._metrics = metrics
        self._patience = Patience()
        self._meta: Meta | None = None
        self._rendered: dict[Key, Rendered] = {}
        self._read_at: dict[Key, float] = {}
        self._reading: dict[Key, tuple[asyncio.Task[Rendered], float]] = {}

    async def meta(self) -> Meta:
        """Return what the store holds to.

        Raises:
            ProblemError: nothing was ever counted, or it does not fit this configuration.
        """
        if self._meta is None:
            meta = await self._patience.wait(self.store.meta())
            if meta is None:
                raise starting()
            if meta.schema != self.store.schema:
                raise self._misfit(meta.schema, meta.bucket_minutes)
            self._check_buckets(meta.bucket_minutes)
            self._meta = meta
        return self._meta

    def held_to(self, reading: Reading | None) -> Reading:
        """Return a reading whose buckets are of the size this process asks for: a rebuild may have changed it meanwhile.

        Raises:
            ProblemError: they are not, or nothing is counted yet.
        """
        if reading is None:
            raise starting()
        self._check_buckets(reading.bucket_minutes)
        return reading

    def _check_buckets(self, stored: int) -> None:
        if stored != self.configuration.settings.store.bucket_minutes:
            raise self._misfit(self.store.schema, stored)

    def _misfit(self, schema: int, stored: int) -> ProblemError:
        configured = self.configuration.settings.store.bucket_minutes
        detail = (
            f"the store has schema {schema} and buckets of {stored} minutes, this process "
            f"{self.store.schema} and {configured}: "
            "set store.bucket_minutes back, upgrade, or rebuild"
        )
        return ProblemError("unavailable", detail)

    def site(self, site_id: str) -> Site:
        """Return a declared site.

        Raises:
            ProblemError: there is none of that name.
        """
        declared = self.configuration.sites.get(site_id)
        if declared is None:
            raise ProblemError("unknown_site", f"no site {site_id[:63]!r} is declared here")
        return declared

    async def partition(self, site: Site) -> int:
        """Return the partition of a site."""
        return partition_of(site.id, (await self.meta()).partitions)

    async def rendered(self, site: Site, metric: Metric, windows: Windows) -> Rendered:
        """Return a site's numbers, at most `FRESH_SECONDS` old; the last good ones, marked stale, while the store is away.

        Raises:
            ProblemError: `starting`, while there never was a good one.
        """
        key = Key(site.id, metric, windows)
        last = self._rendered.get(key)
        if last is not None and self.is_fresh(key):
            return last
        task, since = self._reading.get(key) or self._begin(key, site)
        if last is not None:
            patience = PATIENCE_SECONDS - (time.monotonic() - since)
            await asyncio.wait({task}, timeout=max(0.0, patience))
            if not task.done():
                return _render(key, site, _grown_old(last.answer))
        return await asyncio.shield(task)

    def fresh_one(self, key: Key) -> Rendered | None:
        """Return a site's numbers if they are fresh enough to be given out again."""
        return self._rendered[key] if self.is_fresh(key) else None

    def is_fresh(self, key: Key) -> bool:
        """Claim that the numbers were read within `FRESH_SECONDS`."""
        return time.monotonic() - self._read_at.get(key, -FRESH_SECONDS) < FRESH_SECONDS

    def _begin(self, key: Key, site: Site) -> tuple[asyncio.Task[Rendered], float]:
        """Begin the one reading that all who ask now share."""
        task = asyncio.create_task(self._refresh(key, site))
        found = self._reading[key] = (task, time.monotonic())
        task.add_done_callback(lambda _task: self._reading.pop(key, None))
        return found

    async def online(self, site: Site) -> tuple[int, bool]:
        """Return how many readers a site has now, and whether that is late; much cheaper than all its numbers.

        Raises:
            ProblemError: nothing is counted yet.
            UnavailableError: the store is away.
        """
        partition, now = await self.partition(site), now_ms()
        minutes = site.settings.online_minutes
        reading = await self._read_online(partition, site, minutes, now)
        is_late = now - reading.as_of > STALE_MS
        if is_late:
            reading = await self._read_online(partition, site, minutes, reading.as_of)
        return reading.online, is_late

    async def _read_online(self, partition: int, site: Site, minutes: int, moment: int) -> Reading:
        after = moment - minutes * MINUTE_MS
        reading = await self._patience.wait(
            self.store.read_counters(partition, site.id, (), after, moment)
        )
        if reading is None:
            raise starting()
        self._metrics.note_reading(reading.as_of)
        return reading

    async def position(self, site: Site) -> int:
        """Return how far the site's partition is counted; -1 where nothing is."""
        head = await self._patience.wait(self.store.head(await self.partition(site)))
        return -1 if head is None else head.fence.position

    async def read_after(self, site: Site, metric: Metric, windows: Windows) -> Answer:
        """Read the store now; whoever asks afterwards, also for a stream, is told nothing older.

        Raises:
            ProblemError: nothing is counted yet.
            UnavailableError: the store is away.
        """
        answer = await self.fresh(site, metric, windows)
        key = Key(site.id, metric, windows)
        last = self._rendered.get(key)
        if last is None or not _went_back(last.answer.reading, answer.reading):
            self._rendered[key] = _render(key, site, answer)
            self._read_at[key] = time.monotonic()
        return answer

    async def fresh(self, site: Site, metric: Metric, windows: Windows) -> Answer:
        """Read the store now.

        Raises:
            ProblemError: nothing is counted yet.
            UnavailableError: the store is away.
        """
        partition = await self.partition(site)
        now = now_ms()
        reading = await self._read(partition, site, metric, windows, now)
        moment, is_stale = now, now - reading.as_of > STALE_MS
        if is_stale:
            # Late numbers are cut for the moment they hold for, so that they agree with one another.
            moment = reading.as_of
            reading = await self._read(partition, site, metric, windows, moment)
        asked = self._plan(site, metric, windows, moment)
        numbers = {"online": reading.online} | asked.sums([value or 0 for value in reading.values])
        cut = {
            name: span if name == "yesterday" else Range(span.start, moment)
            for name, span in asked.ranges.items()
        }
        return Answer(numbers, cut, moment, reading.as_of, is_stale, reading)

    def _plan(self, site: Site, metric: Metric, windows: Windows, moment: int) -> Plan:
        bucket_minutes = self.configuration.settings.store.bucket_minutes
        return plan(
            moment // (bucket_minutes * MINUTE_MS), site.zone, windows, metric, bucket_minutes
        )

    async def _read(
        self, partition: int, site: Site, metric: Metric, windows: Windows, moment: int
    ) -> Reading:
        fields = self._plan(site, metric, windows, moment).fields
        online_after = moment - site.settings.online_minutes * MINUTE_MS
        reading = self.held_to(
            await self._patience.wait(
                self.store.read_counters(partition, site.id, fields, online_after, moment)
            )
        )
        self._metrics.note_reading(reading.as_of)
        return reading

    async def pages(self, site: Site, asked: list[str | None]) -> tuple[list[int | None], int]:
        """Return the views of canonical pages, `None` for one that may be in `(other)`, and the moment they hold for.

        Raises:
            ProblemError: nothing is counted yet.
            UnavailableError: the store is away.
        """
        known = [page for page in asked if page is not None]
        partition = await self.partition(site)
        reading = await self._patience.wait(self.store.read_pages(partition, site.id, known))
        if reading is None:
            raise starting()
        absent = None if reading.has_other else 0
        found = {
            page: absent if n is None else n for page, n in zip(known, reading.values, strict=True)
        }
        return [None if page is None else found[page] for page in asked], reading.as_of

    async def _refresh(self, key: Key, site: Site) -> Rendered:
        begun = time.monotonic()
        try:
            answer = await self.fresh(site, key.metric, key.windows)
        except (UnavailableError, PartitionStoppedError, ProblemError) as error:
            last = self._rendered.get(key)
            if last is None:
                if isinstance(error, ProblemError):
                    raise
                log.warning("the store cannot be read", reason=str(error))
                raise starting() from error
            answer = _grown_old(last.answer)
        else:
            last = self._rendered.get(key)
            if last is not None and _went_back(last.answer.reading, answer.reading):
                if begun < self._read_at[key]:
                    # Another reading overtook this one.
                    return last
                answer = _grown_old(last.answer)
        rendered = self._rendered[key] = _render(key, site, answer)
        self._read_at[key] = time.monotonic()
        return rendered


def named_page(site: Site, address: str) -> str | None:
    """Return the page an address is counted under; `None` where it has no counter of its own."""
    try:
        page = site.page(address)
    except PageError:
        return None
    return None if page == OTHER else page


def starting() -> ProblemError:
    """Return the problem of numbers that are not there yet: never a 0."""
    return ProblemError(
        "starting", "nothing has been counted yet, or the aggregator is not running", status=503
    )


def as_json(site: Site, metric: Metric, windows: Windows, answer: Answer) -> dict[str, Any]:
    """Return an answer as it goes over the wire (DESIGN 4.4)."""
    periods = {
        name: {"from": iso(span.start, site.zone), "to": iso(span.end, site.zone)}
        for name, span in answer.ranges.items()
    }
    return {
        "site": site.id,
        "metric": metric.value,
        "windows": windows.value,
        **answer.numbers,
        "periods": periods,
        "as_of": iso(answer.as_of, site.zone),
        "lag_seconds": max(0, now_ms() - answer.as_of) / 1000,
        "stale": answer.stale,
        "lang": site.settings.lang,
    }


def tag_of(text: str) -> str:
    """Return an entity tag of a text."""
    return f'"{blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()}"'


def has_tag(if_none_match: str, tag: str) -> bool:
    """Claim that `If-None-Match` names a tag, also where a proxy has made it weak (RFC 9110 section 13.1.2)."""
    if if_none_match == tag:
        return True
    return any(part.strip().removeprefix("W/") in {tag, "*"} for part in if_none_match.split(","))


def _render(key: Key, site: Site, answer: Answer) -> Rendered:
    """Return an answer as bytes, with the messages that begin it."""
    body = _encoder.encode(as_json(site, key.metric, key.windows, answer))
    tag = tag_of(f"{key.metric}{key.windows}{answer.numbers}{answer.stale}")
    headers = [
        (name.lower().encode(), value.encode())
        for name, value in (CORS | {"Cache-Control": CACHED, "ETag": tag}).items()
    ]
    return Rendered(
        answer,
        body,
        tag,
        head_of(HTTP_OK, [*headers, (b"content-type", b"application/json")]),
        head_of(HTTP_NOT_MODIFIED, headers),
    )


def _grown_old(answer: Answer) -> Answer:
    """Return the last good answer, stale."""
    return msgspec.structs.replace(answer, stale=True)


def _went_back(last: Reading, found: Reading) -> bool:
    """Claim that the store is counted less far than it was, in the same log and generation."""
    same = last.log_id == found.log_id and last.generation == found.generation
    return same and found.head_position < last.head_position
