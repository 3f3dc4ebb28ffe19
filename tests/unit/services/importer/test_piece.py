"""Days as deltas: ids that repeat, pieces that are bounded, and what the ledger tells of them afterwards."""

from __future__ import annotations

from datetime import date

from services.backends.port import BATCH_BYTES_MAX
from services.importer.piece import (
    PIECE_PAGES_MAX,
    DayAmounts,
    Import,
    Imported,
    deltas_of,
    imported_before,
    spans_of,
)
from visits.codec import encode_record
from visits.counters import DAY_MS, HOUR_MS, Metric
from visits.delta import LedgerEntry
from visits.record import Delta, Span

DAY = date(2026, 5, 27)
START = 1_779_814_800_000
FIRST = dict.fromkeys(Metric, 1)
RUN = Import("a", "", "access.log", "root", START + 9 * DAY_MS)


def amounts(pages: dict[str, int] | None = None, n: int = 5) -> DayAmounts:
    spans = spans_of({START // HOUR_MS: n, START // HOUR_MS + 1: 0, START // HOUR_MS + 2: 1}, 60)
    return DayAmounts(DAY, START, START + DAY_MS, dict.fromkeys(Metric, spans), pages or {"/": 6})


def entry(delta: Delta, outcome: str = "applied") -> LedgerEntry:
    return LedgerEntry(
        id=delta.id, position=0, at=delta.at, outcome=outcome, metric=delta.metric, n=1, evidence=delta.evidence
    )  # fmt: skip


def test_a_day_is_one_group_of_three() -> None:
    """Hours as spans of their buckets, pages with the views, ids by day and metric."""
    [group] = deltas_of(amounts(), FIRST, RUN)
    assert [delta.id for delta in group] == [f"import-2026-05-27-{metric}" for metric in Metric]
    assert [delta.metric for delta in group] == list(Metric)
    assert [delta.pages for delta in group] == [{"/": 6}, {}, {}]
    expected = (
        Span(5, START, START + HOUR_MS),
        Span(1, START + 2 * HOUR_MS, START + 3 * HOUR_MS),
    )
    assert {delta.spans for delta in group} == {expected}


def test_the_same_day_has_the_same_ids_whatever_the_file_is_called() -> None:
    """Idempotent for ever: ids name what was imported."""
    other = Import("a", "", "renamed.log", "somebody", START)
    ids = [[delta.id for delta in deltas_of(amounts(), FIRST, run)[0]] for run in (RUN, other)]
    assert ids[0] == ids[1]


def test_another_source_and_another_part_have_other_ids() -> None:
    """So that they add."""
    [group] = deltas_of(amounts(), dict.fromkeys(Metric, 2), Import("a", "web2", "", "", 0))
    assert group[0].id == "import-web2-2026-05-27-2-views"


def test_many_pages_are_cut_into_bounded_pieces() -> None:
    """No group is larger than an append; every page once; the sums come last."""
    pages = {f"/{'trang' * 100}/{number}": number for number in range(1, 3 * PIECE_PAGES_MAX)}
    groups = deltas_of(amounts(pages), FIRST, RUN)
    assert len(groups) > 3
    for group in groups:
        assert sum(len(encode_record(delta)) for delta in group) <= BATCH_BYTES_MAX
    deltas = [delta for group in groups for delta in group]
    assert {page: n for delta in deltas for page, n in delta.pages.items()} == pages
    assert sum(len(delta.pages) for delta in deltas) == len(pages)
    assert len({delta.id for delta in deltas}) == len(deltas)
    assert [delta.id for delta in groups[-1]] == [
        f"import-2026-05-27-{metric}" for metric in Metric
    ]
    assert not any(delta.spans for group in groups[:-1] for delta in group)


def test_other_amounts_are_told_by_the_evidence() -> None:
    """The ledger shows whether an id has the amounts a run found."""
    found = {deltas_of(amounts(n=n), FIRST, RUN)[0][0].evidence for n in (5, 5, 6)}
    assert len(found) == 2


def test_the_ledger_tells_what_was_imported() -> None:
    """By source and metric; a refused delta has used its id up; pieces of pages and others' ids are none."""
    pages = {f"/{number}": 1 for number in range(PIECE_PAGES_MAX + 1)}
    deltas = [delta for group in deltas_of(amounts(pages), FIRST, RUN) for delta in group]
    [other] = deltas_of(amounts(), dict.fromkeys(Metric, 3), Import("a", "web2", "", "", 0))
    strange = entry(deltas[1], "applied")
    entries = [
        *map(entry, deltas),
        entry(other[0], "refused"),
        LedgerEntry(id="import-2026-05-28-views", position=0, at=0, outcome="applied", metric="views", n=1),
        LedgerEntry(
            id="import-2026-05-29-views", position=0, at=0, outcome="applied", metric="views", n=1,
            evidence="2026-02-31T00:00:00+00:00/2026-02-31T00:00:00+00:00; x",
        ),
        LedgerEntry(id="correction", position=0, at=0, outcome="applied", metric="views", n=1, evidence=strange.evidence),
    ]  # fmt: skip
    day = DAY.isoformat()
    for metric in Metric:
        assert imported_before(entries, "", metric) == [
            Imported(day, 1, START, START + DAY_MS, is_applied=True)
        ]
    assert imported_before(entries, "web2", Metric.VIEWS) == [
        Imported(day, 3, START, START + DAY_MS, is_applied=False)
    ]
    assert imported_before(entries, "web3", Metric.VIEWS) == []
