"""A day's amounts as deltas: what their ids are, what they say about their evidence, and how an earlier import is told from them.

Ids name site-wide what was imported, not the file it came from: `import-2026-11-24-visits`. The same day imported again has the
same ids, and the fold counts an id once, for ever. A day imported in parts has `import-2026-11-24-2-visits` for the second one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from services.backends.port import BATCH_BYTES_MAX
from visits.counters import MINUTE_MS, Metric
from visits.delta import LedgerEntry
from visits.record import VERSION, Delta, Span
from visits.window import iso

SOURCE_PATTERN = re.compile(r"[a-z0-9]{1,20}")
"""A source's name, as it stands in the ids."""

PIECE_BYTES_MAX = BATCH_BYTES_MAX // 2
PIECE_PAGES_MAX = 5_000
"""How many pages one delta changes; further ones go into further deltas."""

WHY_LOG = "import: access log"
WHY_TOTALS = "import: day totals"

_ID = re.compile(
    r"import-(?:(?P<source>[a-z0-9]{1,20})-)?(?P<day>\d{4}-\d\d-\d\d)(?:-(?P<part>\d{1,6}))?"
    r"-(?P<metric>views|visits|visitors)(?P<more>-p\d+)?"
)
_MOMENT = r"(\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d(?:\.\d{3})?\+00:00)"
_LINES = re.compile(rf"{_MOMENT}/{_MOMENT}; ")


class DayAmounts(msgspec.Struct, frozen=True):
    """What one local day, or a part of it, adds.

    Attributes:
        day: the local date.
        start: the beginning of what was read (Unix milliseconds).
        end: its end, exclusive.
        spans: metric → where the amounts lie.
        pages: page → views.
        estimated: only the day's sums are known, not its hours.
    """

    day: date
    start: int
    end: int
    spans: Mapping[Metric, Sequence[Span]]
    pages: Mapping[str, int]
    estimated: bool = False

    def total(self, metric: Metric) -> int:
        """Return the sum of a metric."""
        return sum(span.n for span in self.spans.get(metric, ()))


class Import(msgspec.Struct, frozen=True):
    """What all deltas of one run have in common.

    Attributes:
        site: where to.
        source: the name of what is imported, empty for the site's one and only.
        files: what it comes from, as the ledger shows it.
        who: who asked.
        at: when (Unix milliseconds).
    """

    site: str
    source: str
    files: str
    who: str
    at: int


class Imported(msgspec.Struct, frozen=True):
    """A delta of an earlier import, as the ledger has it.

    Attributes:
        day: of which local day.
        part: which part of it, from 1.
        start: from when it read (Unix milliseconds).
        end: until when, exclusive.
        is_applied: it counts; otherwise it was refused, and its id is used up.
    """

    day: str
    part: int
    start: int
    end: int
    is_applied: bool


def spans_of(buckets: Mapping[int, int], bucket_minutes: int) -> tuple[Span, ...]:
    """Return one span a bucket, earliest first."""
    size = bucket_minutes * MINUTE_MS
    return tuple(
        Span(n, bucket * size, (bucket + 1) * size) for bucket, n in sorted(buckets.items()) if n
    )


def deltas_of(amounts: DayAmounts, part: Mapping[Metric, int], what: Import) -> list[list[Delta]]:
    """Return the deltas of a day in groups; each group goes into the log as a whole.

    The last group has the sums of every metric: only with it the day is imported. A run that was killed before it begins the day
    again, with the same ids.

    Args:
        amounts: of the day or of its part.
        part: metric → which part of the day it is, from 1.
        what: the run.
    """
    evidence = f"{iso(amounts.start)}/{iso(amounts.end)}; {what.files}; {_digest(amounts)}"
    names = {
        metric: _name(what.source, amounts.day, number, metric) for metric, number in part.items()
    }
    pages = list(_pieces(amounts.pages)) if Metric.VIEWS in amounts.spans else []
    plain = Delta(
        v=VERSION,
        site=what.site,
        id="",
        at=what.at,
        received=what.at,
        who=what.who,
        why=WHY_TOTALS if amounts.estimated else WHY_LOG,
        evidence=evidence,
        estimated=amounts.estimated,
    )
    more = [
        [replace(plain, id=f"{names[Metric.VIEWS]}-p{number}", pages=piece)]
        for number, piece in enumerate(pages[1:], start=2)
    ]
    sums = [
        replace(
            plain,
            id=names[metric],
            metric=metric,
            spans=tuple(spans),
            pages=pages[0] if pages and metric is Metric.VIEWS else {},
        )
        for metric, spans in amounts.spans.items()
    ]
    return [*more, sums]


def imported_before(entries: Iterable[LedgerEntry], source: str, metric: Metric) -> list[Imported]:
    """Return what the ledger has of earlier imports of a source and a metric."""
    found = []
    for entry in entries:
        match = _ID.fullmatch(entry.id)
        lines = _LINES.match(entry.evidence)
        if match is None or lines is None or match["more"] or (match["source"] or "") != source:
            continue
        if match["metric"] == metric:
            try:
                start, end = (_moment(text) for text in lines.groups())
            except ValueError:
                continue  # somebody else's evidence
            part, is_applied = int(match["part"] or 1), entry.outcome == "applied"
            found.append(Imported(match["day"], part, start, end, is_applied))
    return found


def _name(source: str, day: date, part: int, metric: Metric) -> str:
    number = "" if part == 1 else str(part)
    return "-".join(filter(None, ("import", source, day.isoformat(), number, metric)))


def _moment(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _digest(amounts: DayAmounts) -> str:
    """Return what tells these amounts from any others."""
    text = msgspec.json.encode([amounts.spans, amounts.pages], order="sorted")
    return f"blake2b:{blake2b(text, digest_size=8).hexdigest()}"


def _pieces(pages: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Cut a day's pages into pieces of bounded size, by name, so that the same pages give the same pieces."""
    piece: dict[str, int] = {}
    room = PIECE_BYTES_MAX
    for page, n in sorted(pages.items()):
        # In JSON a control character or a quote would take more, but a canonical page has few of them.
        size = 2 * len(page.encode()) + 24
        if piece and (size > room or len(piece) >= PIECE_PAGES_MAX):
            yield piece
            piece, room = {}, PIECE_BYTES_MAX
        piece[page] = n
        room -= size
    if piece:
        yield piece
