"""The records of the log, version 1 (`docs/wire-format.md`): what ingest decided, and all that the fold may know.

Five kinds. Every one carries `v`, `kind`, `site`, `id`, `at` (event time) and `received` (both Unix milliseconds); the rest
belongs to its kind. Changes together with `visits/codec.py` and `docs/wire-format.md`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from visits.counters import Metric

VERSION = 1
"""The only record version this release writes and reads."""

SITE_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A site's id (DESIGN 2): as a DNS label (RFC 1035 section 2.3.1), so that it fits any URL, key and file name."""

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""An event id as a client may choose it (DESIGN 3.3)."""

MOMENT_MAX = 1 << 43
"""The greatest moment in Unix milliseconds, in the year 2248: what lies beyond is a mistake of units."""

AMOUNT_MAX = 10**12
"""The greatest amount of one span or page of a delta (DESIGN 3.3)."""

TEXT_MAX = 4096
"""The greatest length of a free text (`who`, `why`, `evidence`), in characters."""

Moment = Annotated[int, Meta(ge=0, le=MOMENT_MAX)]
Site = Annotated[str, Meta(min_length=1, max_length=63)]
EventId = Annotated[str, Meta(min_length=1, max_length=64)]
Version = Annotated[int, Meta(ge=VERSION, le=VERSION)]
Day = Annotated[str, Meta(min_length=10, max_length=10)]
Page = Annotated[str, Meta(min_length=1, max_length=1024)]
Pseudonym = Annotated[str, Meta(min_length=16, max_length=16)]
Amount = Annotated[int, Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]


class View(
    Struct, frozen=True, gc=False, tag_field="kind", tag="view", omit_defaults=True, kw_only=True
):
    """A page shown once.

    Attributes:
        day: the local date of `at` in the site's zone, ISO 8601.
        page: a canonical page, or `(other)`.
        visitor: the reader's pseudonym of that local day, 16 hexadecimal digits; absent where the reader asked not to be told
            apart (DNT, GPC).
        previous: the same reader's pseudonym of the day before, in the first 30 min of a local day.
        entry: the referrer was not of this site; read only where there is no `visitor`.
    """

    v: Version
    site: Site
    id: EventId
    at: Moment
    received: Moment
    day: Day
    page: Page
    visitor: Pseudonym | None = None
    previous: Pseudonym | None = None
    entry: bool = False


class Ping(Struct, frozen=True, tag_field="kind", tag="ping", omit_defaults=True, kw_only=True):
    """A sign that a reader is still there: keeps the reader online and the visit open, counts nothing."""

    v: Version
    site: Site
    id: EventId
    at: Moment
    received: Moment
    day: Day
    visitor: Pseudonym | None = None
    previous: Pseudonym | None = None


class Span(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """An amount and where it lies.

    Attributes:
        n: how many, may be negative.
        start: Unix milliseconds, the beginning of a bucket; `None`: before every bucket.
        end: Unix milliseconds, exclusive, the end of a bucket; `None` exactly where `start` is.
    """

    n: Amount
    start: Moment | None = None
    end: Moment | None = None


class Delta(Struct, frozen=True, tag_field="kind", tag="delta", omit_defaults=True, kw_only=True):
    """An opening balance, an import or a correction: idempotent by `id` for ever, listed in the ledger.

    Attributes:
        metric: which counter the spans change.
        spans: where the amounts lie; each is spread evenly over its buckets, the remainder to the earliest.
        pages: canonical page → views to add to that page in all.
        forget: a page pattern; all pages of the site that match it are folded into `(other)`.
        who: who asked for it.
        why: the reason, as the ledger shows it.
        evidence: what proves it: a report, a screenshot's address, a file's hash.
        estimated: the spread over the buckets is not known, only the sum.
    """

    v: Version
    site: Site
    id: EventId
    at: Moment
    received: Moment
    metric: Metric = Metric.VIEWS
    spans: Annotated[tuple[Span, ...], Meta(max_length=50_000)] = ()
    pages: Annotated[dict[Page, Amount], Meta(max_length=50_000)] = {}
    forget: Page | None = None
    who: Text = ""
    why: Text = ""
    evidence: Text = ""
    estimated: bool = False


class Tally(Struct, frozen=True, tag_field="kind", tag="tally", omit_defaults=True, kw_only=True):
    """How many requests for a site were refused since the last tally of this process, by reason.

    Attributes:
        day: the local date of `at` in the site's zone, ISO 8601.
        refused: reason (`visits.refusal.Refusal`) → how many.
    """

    v: Version
    site: Site
    id: EventId
    at: Moment
    received: Moment
    day: Day
    refused: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]],
        Meta(max_length=64),
    ]


class Probe(Struct, frozen=True, tag_field="kind", tag="probe", omit_defaults=True, kw_only=True):
    """A test event of `visit-counter doctor`: goes all the way and changes no number."""

    v: Version
    site: Site
    id: EventId
    at: Moment
    received: Moment


Record = View | Ping | Delta | Tally | Probe
KINDS: frozenset[str] = frozenset({"view", "ping", "delta", "tally", "probe"})
Kind = Literal["view", "ping", "delta", "tally", "probe"]
