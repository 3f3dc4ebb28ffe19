"""A correction as a program sends it, checked at the door: what the fold could only refuse is told to its sender (DESIGN 3.3).

Only what depends on the numbers themselves is left to the fold: a correction that would make one negative. The moment is an
argument. Changes together with `docs/wire-format.md`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.backends.port import BATCH_BYTES_MAX
from services.ingest.batch import id_stem
from services.ingest.moment import parse_moment
from services.ingest.request import BodyTooLargeError
from services.runtime.site import Site
from visits.codec import encode_record
from visits.counters import Metric
from visits.delta import delta_amounts
from visits.errors import DeltaError, InputError
from visits.record import ID_PATTERN, VERSION, Amount, Delta, Span, Text

BYTES_MAX = BATCH_BYTES_MAX
"""The greatest body, and the greatest record: what one append takes."""

SPANS_MAX = PAGES_MAX = 50_000
"""As many as a record may have."""


class SpanRequest(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """An amount and where it lies; `from` is never left out, so that a misspelt one moves nothing before every bucket."""

    n: Amount
    start: int | str | None
    end: int | str | None = None


class DeltaRequest(msgspec.Struct, frozen=True):
    """One correction; unknown members are ignored. See `visits.record.Delta` for the members."""

    id: str | None = None
    metric: Metric | None = None
    spans: Annotated[tuple[SpanRequest, ...], msgspec.Meta(max_length=SPANS_MAX)] = ()
    pages: Annotated[dict[str, Amount], msgspec.Meta(max_length=PAGES_MAX)] = {}
    who: Text = ""
    why: Text = ""
    evidence: Text = ""
    estimated: bool = False


class BadIdError(InputError):
    """An id that is none."""


_decoder = msgspec.json.Decoder(DeltaRequest)


def read_delta(
    body: bytes, site: Site, bucket_minutes: int, now: int, *, who: str, idempotency_key: str
) -> tuple[str, bytes]:
    """Return the id and the record's bytes of a correction.

    Args:
        body: as it was sent.
        site: whose numbers change.
        bucket_minutes: a span is a whole number of buckets of this size.
        now: Unix milliseconds, the moment of the correction.
        who: stands in the ledger where the body names nobody.
        idempotency_key: makes the id where the body has none; without it the body does, so that a second try changes nothing.

    Raises:
        PageError: a page that is none.
        BadIdError: an id that is none.
        BodyTooLargeError: the record would not fit into one append.
        InputError: all else, with what to mend.
    """
    asked = _decode(body)
    if asked.id is not None and not ID_PATTERN.fullmatch(asked.id):
        raise BadIdError("an id has 8 to 64 of A-Z, a-z, 0-9, '_' and '-'")
    if asked.spans and asked.metric is None:
        raise DeltaError("metric is missing: say whether the spans are visits, views or visitors")
    pages: dict[str, int] = {}
    for address, n in asked.pages.items():
        page = site.page(address)
        pages[page] = pages.get(page, 0) + n
    delta = Delta(
        v=VERSION,
        site=site.id,
        id=asked.id or id_stem(site.id, idempotency_key, body),
        at=now,
        received=now,
        metric=asked.metric or Metric.VIEWS,
        spans=tuple(_span(span, number) for number, span in enumerate(asked.spans)),
        pages=pages,
        who=asked.who or who,
        why=asked.why,
        evidence=asked.evidence,
        estimated=asked.estimated,
    )
    if not any(delta_amounts(delta, bucket_minutes).values()) and not any(pages.values()):
        raise DeltaError("the correction changes nothing: give spans or pages amounts other than 0")
    record = encode_record(delta)
    if len(record) > BYTES_MAX:
        raise BodyTooLargeError(
            f"the correction is longer than {BYTES_MAX} bytes; send it in parts"
        )
    return delta.id, record


def _decode(body: bytes) -> DeltaRequest:
    try:
        return _decoder.decode(body)
    except RecursionError as error:
        raise InputError("the body is nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body is no correction: {str(error)[:200]}") from error


def _span(asked: SpanRequest, number: int) -> Span:
    """Return a span as the log holds it.

    Raises:
        DeltaError: one end alone, or no time.
    """
    if asked.start is None and asked.end is None:
        return Span(asked.n)
    if asked.start is None or asked.end is None:
        raise DeltaError(
            f"spans[{number}]: from and to go together; both null is before every bucket"
        )
    try:
        return Span(asked.n, parse_moment(asked.start), parse_moment(asked.end))
    except InputError as error:
        raise DeltaError(f"spans[{number}]: {error}") from error
