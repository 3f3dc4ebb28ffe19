"""What a server sends in one piece: lines of views of one site, each with its own moment and reader (DESIGN 4.3).

Reading only: the moment of arrival is an argument, nothing is sent or booked here. All lines are taken, or none. Changes together
with `docs/wire-format.md`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Annotated, Literal, NamedTuple

import msgspec

from services.backends.port import BATCH_BYTES_MAX
from services.ingest.local_day import LocalDay, local_day_at
from services.ingest.moment import parse_moment
from services.ingest.recording import VISITOR_PREFIX
from services.ingest.request import BODY_BYTES_MAX
from services.ingest.salt import SaltKeeper
from services.runtime.site import Site
from visits.codec import encode_record
from visits.counters import DAY_MS, MINUTE_MS
from visits.errors import InputError, PageError, StoreUnavailableError
from visits.pseudonym import pseudonym_maker
from visits.record import ID_PATTERN, VERSION, View

LINES_MAX = 10_000
"""The most lines of one body (DESIGN 3.6)."""

BYTES_MAX = 5_000_000
"""The greatest body (DESIGN 3.6)."""

BACK_MS = DAY_MS
AHEAD_MS = 5 * MINUTE_MS
"""How far a line's moment may lie from its arrival (DESIGN 4.3)."""

PIECE_RECORDS_MAX = 1_000
"""The most records of one append: Kafka's client builds a batch of them in about 1 ms, in which no view gets its turn."""

FAULTS_MAX = 100
"""How many bad lines are named; the lines after them are not looked at (DESIGN 4.3)."""

STEM_BYTES = 9
"""The ids of lines without one begin with 72 bits of the Idempotency-Key or the body: 12 characters of base64."""


class BatchLine(msgspec.Struct, frozen=True, gc=False):
    """One view as a server describes it; unknown members are ignored.

    Attributes:
        at: when it was, ISO 8601 with an offset or Unix milliseconds.
        visitor: any name of the reader, 16 to 64 characters, hashed here; `null` for one who asked not to be told apart.
        page: an absolute URL or a path.
        id: the event's id; made from the body and the line's number where absent.
        site: may be left out: the token says which.
        kind: a batch holds views only.
        entry: the referrer was not of this site; read only where there is no visitor.
        own: the webmaster's own visit; belongs into no batch.
    """

    at: int | str
    visitor: Annotated[str, msgspec.Meta(min_length=16, max_length=64)] | None
    page: str
    id: str | None = None
    site: str | None = None
    kind: Literal["view"] = "view"
    entry: bool | None = None
    own: bool | None = None


class Fault(msgspec.Struct, frozen=True):
    """Why a line cannot be taken.

    Attributes:
        line: its number, from 1; blank lines count.
        reason: `malformed`, `too_large`, `bad_at`, `bad_page`, `bad_id` or `other_site`.
        detail: one sentence.
    """

    line: int
    reason: str
    detail: str


class _BadLineError(InputError):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Day(NamedTuple):
    """One local day, and what makes pseudonyms of it and of the day before; `None` where there is no salt."""

    local: LocalDay
    make: Callable[[bytes, str], bytes] | None
    make_before: Callable[[bytes, str], bytes] | None


_decoder = msgspec.json.Decoder(BatchLine)


class Batch:
    """The records of one body as far as it was read.

    Attributes:
        faults: the bad lines, at most `FAULTS_MAX`.
        duplicates: how many lines repeat the id of an earlier one; the fold finds them.
    """

    def __init__(self, site: Site, salts: SaltKeeper, now: int, stem: str) -> None:
        """Read lines of `site` that arrive at `now` (Unix milliseconds); ids are made from `stem` (`id_stem`)."""
        self.faults: list[Fault] = []
        self._records: list[tuple[bytes, bytes]] = []
        self._moments: list[int] = []
        self._site = site
        self._key = site.id.encode()
        self._salts = salts
        self._now = now
        self._stem = stem
        self._days: list[_Day] = []
        self._pages: dict[str, str] = {}
        self._ids: set[str] = set()

    @property
    def duplicates(self) -> int:
        """How many lines repeat an id of this body."""
        return len(self._records) - len(self._ids)

    @property
    def records(self) -> list[tuple[bytes, bytes]]:
        """What goes into the log, (key, value) by the moment of the event: visits do not depend on the order of the lines."""
        order = sorted(range(len(self._records)), key=self._moments.__getitem__)
        return [self._records[index] for index in order]

    def read(self, lines: Sequence[bytes], first: int) -> None:
        """Read some lines, the first of which is number `first`; stops at `FAULTS_MAX` faults.

        Raises:
            StoreUnavailableError: the salt of a day was never seen.
        """
        for number, line in enumerate(lines, start=first):
            if not line or line.isspace():
                continue
            try:
                record = self._record(line, number)
            except _BadLineError as error:
                self.faults.append(Fault(number, error.reason, str(error)))
                if len(self.faults) >= FAULTS_MAX:
                    return
            else:
                self._ids.add(record.id)
                self._moments.append(record.at)
                self._records.append((self._key, encode_record(record)))

    def _record(self, line: bytes, number: int) -> View:
        found = _decode(line)
        if found.own or (found.site is not None and found.site != self._site.id):
            raise _unfit(found, self._site)
        event_id = found.id
        if event_id is None:
            event_id = f"{self._stem}-{number}"
        elif not ID_PATTERN.fullmatch(event_id):
            raise _BadLineError("bad_id", "an id has 8 to 64 of A-Z, a-z, 0-9, '_' and '-'")
        at = self._moment(found.at)
        day = self._day(at)
        visitor = previous = None
        if found.visitor is not None:
            visitor, previous = _pseudonyms(found.visitor, day, at)
        return View(
            v=VERSION,
            site=self._site.id,
            id=event_id,
            at=at,
            received=self._now,
            day=day.local.day,
            page=self._page(found.page),
            visitor=visitor,
            previous=previous,
            entry=visitor is None and bool(found.entry),
        )

    def _moment(self, written: int | str) -> int:
        try:
            at = parse_moment(written)
        except InputError as error:
            raise _BadLineError("bad_at", str(error)) from error
        if not -BACK_MS <= at - self._now <= AHEAD_MS:
            raise _BadLineError(
                "bad_at",
                f"the moment lies {(at - self._now) / 1000:+.0f} s from now; 24 hours back to 5 minutes ahead are taken, "
                "older views are a delta's",
            )
        return at

    def _page(self, written: str) -> str:
        page = self._pages.get(written)
        if page is None:
            try:
                page = self._pages[written] = self._site.page(written)
            except PageError as error:
                raise _BadLineError("bad_page", str(error)) from error
        return page

    def _day(self, at: int) -> _Day:
        """Return the local day of `at`, with what makes its pseudonyms; a body spans three of them at most."""
        for day in self._days:
            if day.local.start <= at < day.local.end:
                return day
        local = local_day_at(at, self._site.zone)
        day = _Day(local, self._maker(local.day), self._maker(local.before))
        self._days.insert(0, day)
        return day

    def _maker(self, day: str) -> Callable[[bytes, str], bytes] | None:
        salt = self._salts.salt(day)
        return None if salt is None else pseudonym_maker(salt, self._site.id)


def _pseudonyms(visitor: str, day: _Day, at: int) -> tuple[str, str | None]:
    """Return the reader's pseudonym of the event's day and, shortly after its midnight, of the day before.

    Raises:
        StoreUnavailableError: the day's salt was never seen.
    """
    if day.make is None:
        raise StoreUnavailableError(f"the salt of {day.local.day} was never seen")
    name = VISITOR_PREFIX + visitor.encode()
    own = day.make(name, "").hex()
    if day.make_before is None or not day.local.has_previous(at):
        return own, None
    return own, day.make_before(name, "").hex()


def id_stem(site: str, idempotency_key: str, body: bytes) -> str:
    """Return what the ids of lines without one begin with: the same for every try of the same body."""
    source = b"key\x00" + idempotency_key.encode() if idempotency_key else b"body\x00" + body
    digest = blake2b(source, digest_size=STEM_BYTES, key=site.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()


def named_site(line: bytes) -> str | None:
    """Return the site that a line names, `None` where it names none or is no view."""
    try:
        return _decode(line).site
    except InputError:
        return None


def appends(records: Sequence[tuple[bytes, bytes]]) -> Iterator[Sequence[tuple[bytes, bytes]]]:
    """Cut records into what one append takes."""
    start = size = 0
    for index, (_, value) in enumerate(records):
        if index - start == PIECE_RECORDS_MAX or (size and size + len(value) > BATCH_BYTES_MAX):
            yield records[start:index]
            start, size = index, 0
        size += len(value)
    if start < len(records):
        yield records[start:]


def _decode(line: bytes) -> BatchLine:
    if len(line) > BODY_BYTES_MAX:
        raise _BadLineError("too_large", f"the line is longer than {BODY_BYTES_MAX} bytes")
    try:
        return _decoder.decode(line)
    except RecursionError as error:
        raise _BadLineError("malformed", "the line is nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _BadLineError("malformed", str(error)[:200]) from error


def _unfit(line: BatchLine, site: Site) -> _BadLineError:
    """Return why a line that can be read belongs into no batch of `site`."""
    if line.own:
        return _BadLineError("malformed", "own: leave the webmaster's own views out of the batch")
    return _BadLineError("other_site", f"the token is site {site.id!r}'s, the line another one's")
