"""What a site's numbers read, and how old they are: from the store, through a short cache, never a false 0.

A late number says that it is late; a store that is away or went back in time leaves the last good numbers standing, marked stale.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import structlog

from services.backends.port import CounterStore, Reading
from services.runtime.clock import now_ms
from services.runtime.problem import ProblemError
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.counters import MINUTE_MS, Metric
from visits.errors import PartitionStoppedError, UnavailableError
from visits.partition import partition_of
from visits.state import SCHEMA, Meta
from visits.window import Plan, Range, Windows, iso, plan

STALE_MS = 5_000
"""Numbers older than this are stale (DESIGN 3.2)."""

FRESH_SECONDS = 0.05
"""A cached answer is this old at most: the store is read 20 times a second a site at most."""

log = structlog.get_logger()


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


class Readings:
    """Reads the store, holds the last good answers, and lets many who ask at once share one reading."""

    def __init__(self, configuration: Configuration, store: CounterStore) -> None:
        """Take an opened store."""
        self.configuration = configuration
        self._store = store
        self._meta: Meta | None = None
        self._answers: dict[Key, Answer] = {}
        self._read_at: dict[Key, float] = {}
        self._reading: dict[Key, asyncio.Task[Answer]] = {}

    async def meta(self) -> Meta:
        """Return what the store holds to.

        Raises:
            ProblemError: nothing was ever counted, or it does not fit this configuration.
        """
        if self._meta is None:
            meta = await self._store.meta()
            if meta is None:
                raise starting()
            configured = self.configuration.settings.store.bucket_minutes
            if meta.schema > SCHEMA or meta.bucket_minutes != configured:
                detail = (
                    f"the store has schema {meta.schema} and buckets of {meta.bucket_minutes} minutes, this process {SCHEMA} "
                    f"and {configured}: set store.bucket_minutes back, upgrade, or rebuild"
                )
                raise ProblemError("unavailable", detail)
            self._meta = meta
        return self._meta

    async def partition(self, site: Site) -> int:
        """Return the partition of a site."""
        return partition_of(site.id, (await self.meta()).partitions)

    async def cached(self, site: Site, metric: Metric, windows: Windows) -> Answer:
        """Return a site's numbers, at most `FRESH_SECONDS` old; the last good ones, marked stale, while the store is away.

        Raises:
            ProblemError: `starting`, while there never was a good one.
        """
        key = Key(site.id, metric, windows)
        if time.monotonic() - self._read_at.get(key, 0.0) < FRESH_SECONDS:
            return self._answers[key]
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._refresh(key, site))
            task.add_done_callback(lambda _task: self._reading.pop(key, None))
        return await asyncio.shield(task)

    async def position(self, site: Site) -> int:
        """Return how far the site's partition is counted; -1 where nothing is."""
        head = await self._store.head(await self.partition(site))
        return -1 if head is None else head.fence.position

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
        reading = await self._store.read_counters(partition, site.id, fields, online_after, moment)
        if reading is None:
            raise starting()
        return reading

    async def pages(self, site: Site, asked: list[str | None]) -> tuple[list[int | None], int]:
        """Return the views of canonical pages, `None` for one that may be in `(other)`, and the moment they hold for.

        Raises:
            ProblemError: nothing is counted yet.
            UnavailableError: the store is away.
        """
        known = [page for page in asked if page is not None]
        reading = await self._store.read_pages(await self.partition(site), site.id, known)
        if reading is None:
            raise starting()
        absent = None if reading.has_other else 0
        found = {
            page: absent if n is None else n for page, n in zip(known, reading.values, strict=True)
        }
        return [None if page is None else found[page] for page in asked], reading.as_of

    async def ledger(self, site: Site) -> list[bytes]:
        """Return the ledger's entries."""
        return await self._store.read_ledger(await self.partition(site), site.id)

    async def _refresh(self, key: Key, site: Site) -> Answer:
        last = self._answers.get(key)
        try:
            answer = await self.fresh(site, key.metric, key.windows)
        except (UnavailableError, PartitionStoppedError, ProblemError) as error:
            if last is None:
                if isinstance(error, ProblemError):
                    raise
                log.warning("the store cannot be read", reason=str(error))
                raise starting() from error
            answer = _grown_old(last)
        else:
            if last is not None and _went_back(last.reading, answer.reading):
                answer = _grown_old(last)
        self._answers[key] = answer
        self._read_at[key] = time.monotonic()
        return answer


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


def _grown_old(answer: Answer) -> Answer:
    """Return the last good answer, stale."""
    return msgspec.structs.replace(answer, stale=True)


def _went_back(last: Reading, found: Reading) -> bool:
    """Claim that the store is counted less far than it was, in the same log and generation."""
    same = last.log_id == found.log_id and last.generation == found.generation
    return same and found.head_position < last.head_position
