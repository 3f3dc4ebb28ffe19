"""Log and store as the configuration names them, looked at from here: what answers, what it holds to, what it takes."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable
from typing import TypeVar

from services.backends.sqlite import is_in_use
from services.doctor.fact import Ground
from services.runtime.backend import Backends, make_backends
from services.runtime.clock import now_ms
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.errors import UnavailableError, VisitCounterError
from visits.pseudonym import SALT_BYTES
from visits.state import Head
from visits.window import local_day

LOOK_SECONDS = 6.0
"""How long one look may take; Redis gives up a command after 5 s."""

STANDS_STILL_MS = 10_000
"""A partition without a sign of life for longer is worth a note; there is one every second."""

T = TypeVar("T")


class Surroundings:
    """The configured pair, opened as far as it can be.

    Attributes:
        backends: the pair; a part that could not be used is named in `ground`.
        ground: what was seen of it.
        salt: today's, `None` where it could not be read.
        partitions: how many the log has; 0: not known.
    """

    def __init__(self, found: Configuration, site: Site) -> None:
        """Look at nothing yet."""
        self._found = found
        self._site = site
        self.backends: Backends = make_backends(found, exclusive=False)
        self.ground = Ground()
        self.salt: bytes | None = None
        self.partitions = 0

    async def look(self) -> None:
        """See what answers. A file or topic that is not there is not made."""
        if self._found.settings.is_embedded:
            path = self._found.sqlite_path()
            if not path.is_file():
                self.ground.log_error = self.ground.store_error = f"there is no {path} yet"
                self.ground.unused = str(path)
                return
            if not is_in_use(path):
                self.ground.unused = str(path)
        await asyncio.gather(self._look_at_log(), self._look_at_store())

    async def close(self) -> None:
        """Close both."""
        await self.backends.close()

    async def head(self, partition: int) -> Head | None:
        """Return a partition's head; `None` where there is none or the store is away."""
        try:
            return await _bounded(self.backends.store.head(partition))
        except VisitCounterError:
            return None

    async def still_partitions(self) -> list[str]:
        """Return a sentence for every partition that has given no sign of life lately."""
        meta = self.ground.meta
        if meta is None:
            return []
        heads = await asyncio.gather(*(self.head(number) for number in range(meta.partitions)))
        now = now_ms()
        return [
            f"partition {number}: {_told(head, now)}"
            for number, head in enumerate(heads)
            if head is None or now - head.as_of > STANDS_STILL_MS
        ]

    async def _look_at_log(self) -> None:
        event_log, ground = self.backends.log, self.ground
        try:
            # Asked before anything is opened: opening makes a topic that is missing.
            ground.log_id = await _bounded(event_log.log_id())
        except VisitCounterError as error:
            if not self._found.settings.is_embedded:
                ground.log_error = str(error)
                return
        try:
            await _bounded(event_log.open())
            begun = time.perf_counter()
            ground.log_id = await _bounded(event_log.log_id())
            ground.log_seconds = time.perf_counter() - begun
            self.partitions = event_log.partitions
        except VisitCounterError as error:
            ground.log_error = str(error)

    async def _look_at_store(self) -> None:
        store, ground = self.backends.store, self.ground
        day = local_day(now_ms(), self._site.zone).isoformat()
        try:
            await _bounded(store.open())
            begun = time.perf_counter()
            ground.meta = await _bounded(store.meta())
            ground.store_seconds = time.perf_counter() - begun
            self.salt = (await _bounded(store.salts([day]))).get(day)
        except VisitCounterError as error:
            ground.store_error = str(error)
            return
        try:
            # A write that changes nothing where today's salt stands; where it does not, what ingest would do next.
            self.salt = await _bounded(
                store.put_salt(day, self.salt or secrets.token_bytes(SALT_BYTES))
            )
        except VisitCounterError as error:
            ground.write_error = str(error)


async def _bounded(asked: Awaitable[T]) -> T:
    """Wait for one answer, and not for ever.

    Raises:
        UnavailableError: none came; else what it raised.
    """
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await asked
    except TimeoutError:
        raise UnavailableError(f"no answer within {LOOK_SECONDS:g} s") from None


def _told(head: Head | None, now: int) -> str:
    if head is None:
        return "no aggregator has ever worked on it"
    return f"no sign of life for {(now - head.as_of) / 1000:.0f} s"
