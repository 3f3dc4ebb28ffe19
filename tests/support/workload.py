"""A log of views as portals write it: some sites and pages are read much more than others, readers come for a few pages and go.

Drawn by a seed, so that every run counts the same log. Records are put together as text, since making ten million of them through
the codec would take longer than counting them; `tests/unit/support/test_workload.py` holds them against it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from visits.counters import DAY_MS, HOUR_MS

VIEWS_A_READER = 3
READERS_AT_ONCE = 2_000
STEP_MS = 12
"""Between two views: about 7,200,000 a day."""

START = round(datetime(2026, 11, 24, 1, tzinfo=UTC).timestamp() * 1000)
OFFSET = timedelta(hours=7)
MASK = (1 << 64) - 1
ODD = 0x9E3779B97F4A7C15
"""Spreads serial numbers over 64 bits without a repeat (Knuth, multiplicative hashing)."""


class Workload:
    """An endless log.

    Attributes:
        sites: the ids.
        written: how many views were drawn so far.
    """

    def __init__(self, sites: int, pages: int, seed: int = 1) -> None:
        """Take how many sites there are, and how many pages each has."""
        self.sites = [f"site-{number:04d}" for number in range(sites)]
        self.written = 0
        self._pages = pages
        self._rng = random.Random(seed)
        self._readers: dict[int, list[int]] = {}
        self._serial = 0

    @property
    def now(self) -> int:
        """When the next view comes, in Unix milliseconds."""
        return START + self.written * STEP_MS

    def draw(self, count: int) -> Iterator[tuple[str, bytes]]:
        """Yield the site and the record's value of the next views."""
        for _ in range(count):
            site = _popular(self._rng, len(self.sites))
            page = _popular(self._rng, self._pages)
            at = self.now
            yield self.sites[site], self._record(self.sites[site], page, self._reader(site), at)
            self.written += 1

    def _record(self, site: str, page: int, reader: int, at: int) -> bytes:
        visitor = (reader * ODD) & MASK
        return (
            f'{{"kind":"view","v":1,"site":"{site}","id":"{self._rng.getrandbits(96):024x}","at":{at},"received":{at},'
            f'"day":"{_day(at)}","page":"/tin-tuc/bai-viet-{page}.html","visitor":"{visitor:016x}"}}'
        ).encode()

    def _reader(self, site: int) -> int:
        """Return one of the site's readers of the last minutes, or a new one."""
        readers = self._readers.setdefault(site, [])
        if not readers or self._rng.random() * VIEWS_A_READER < 1:
            self._serial += 1
            readers.append(self._serial)
            if len(readers) > READERS_AT_ONCE:
                del readers[: READERS_AT_ONCE // 2]
            return self._serial
        return readers[-1 - int(self._rng.random() ** 2 * len(readers))]


def _popular(rng: random.Random, count: int) -> int:
    """Draw a number below `count`; the first is drawn most, about as Zipf's law has it."""
    return min(count - 1, int(math.exp(rng.random() * math.log(count + 1))) - 1)


_days: dict[int, str] = {}


def _day(at: int) -> str:
    number = (at + 7 * HOUR_MS) // DAY_MS
    if number not in _days:
        _days[number] = (datetime.fromtimestamp(at / 1000, UTC) + OFFSET).date().isoformat()
    return _days[number]
