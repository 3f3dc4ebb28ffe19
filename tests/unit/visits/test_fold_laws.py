"""The replay law, and what follows from it, by drawn logs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dictstore import DictStore
from tests.support.logs import logs
from visits.codec import LogRecord, decode_batch
from visits.state import Parameters

SMALL = Parameters(pages_max=3, ids_max=8)
"""Room for so little that every limit is met."""


@settings(max_examples=300, deadline=None)
@given(logs(), st.lists(st.integers(1, 29), max_size=8), st.lists(st.integers(1, 29), max_size=8))
def test_batch_cuts_change_nothing(
    log: list[LogRecord], cuts: list[int], others: list[int]
) -> None:
    """The state at a position is the same however the log before it was cut into batches."""
    one, two, single = DictStore(SMALL), DictStore(SMALL), DictStore(SMALL)
    one.run(log, cuts)
    two.run(log, others)
    single.run(log, list(range(len(log))))
    assert one.dump() == two.dump() == single.dump()


@settings(max_examples=100, deadline=None)
@given(logs(), st.integers(1, 29))
def test_applying_twice_is_applying_once(log: list[LogRecord], cut: int) -> None:
    """A batch whose fence has passed changes nothing."""
    store = DictStore(SMALL)
    batch = store.decide(decode_batch(log[:cut], 0, 1))
    assert store.apply(batch)
    before = store.dump()
    assert not store.apply(batch)
    assert store.dump() == before


@settings(max_examples=100, deadline=None)
@given(logs(), st.lists(st.integers(1, 29), max_size=4))
def test_rebuild_equals_live(log: list[LogRecord], cuts: list[int]) -> None:
    """A store thrown away and counted anew from the log has the same numbers."""
    live, rebuilt = DictStore(SMALL), DictStore(SMALL)
    live.run(log, cuts)
    rebuilt.run(log, [])
    assert rebuilt.dump() == live.dump()


@settings(max_examples=200, deadline=None)
@given(logs())
def test_counted_visits_and_visitors_never_exceed_views(log: list[LogRecord]) -> None:
    """In all and in every bucket: visits ≤ views, visitors ≤ views, corrections aside."""
    store = DictStore(SMALL)
    store.run(_without_deltas(log), [])
    for counters in store.tables["counters"].values():
        for field, n in counters.items():
            if field[0] in "sp":
                assert n <= counters["v" + field[1:]]


@settings(max_examples=200, deadline=None)
@given(logs())
def test_every_number_has_one_sum(log: list[LogRecord]) -> None:
    """Views: total = buckets = days = pages = books; nothing is negative."""
    store = DictStore(Parameters(pages_max=3))
    store.run(_without_deltas(log), [])
    for site, counters in store.tables["counters"].items():
        total = counters["v"]
        assert total == sum(n for f, n in counters.items() if f.startswith("vb"))
        assert total == sum(n for f, n in counters.items() if f.startswith("vd"))
        assert total == sum(store.tables["pages"][site].values())
        assert total == store.tables["books"][site]["counted"]
        assert all(n >= 0 for n in counters.values())


def _without_deltas(log: list[LogRecord]) -> list[LogRecord]:
    kept = [record for record in log if b'"kind":"delta"' not in record.value]
    return [LogRecord(p, r.timestamp, r.key, r.value) for p, r in enumerate(kept)]
