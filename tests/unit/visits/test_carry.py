"""A state carried over a batch decides as the state that is read after it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dictstore import DictStore
from tests.support.logs import logs
from visits.carry import carry
from visits.codec import LogRecord, decode_batch
from visits.fold import fold, wanted
from visits.state import Batch, Parameters, State

SMALL = Parameters(pages_max=3, ids_max=8)
"""Room for so little that every limit is met."""


def comparable(batch: Batch) -> Batch:
    """Put the pages that go into one order: they are a set; keep what was told of the pages that change."""
    batch.pages_before = {
        site: {page: before[page] for page in pages if page in before}
        for site, pages in batch.pages.items()
        if (before := batch.pages_before.get(site, {})).keys() & pages.keys()
    }
    batch.page_days_gone = {
        site: {day: sorted(pages) for day, pages in days.items()}
        for site, days in batch.page_days_gone.items()
    }
    return batch


def drop_empty(state: State) -> None:
    """Leave out sites of which nothing is there, as some stores do."""
    state.seen = {site: table for site, table in state.seen.items() if table}
    state.pages = {site: table for site, table in state.pages.items() if table}
    state.deltas = {site: ids for site, ids in state.deltas.items() if ids}
    state.counters = {site: table for site, table in state.counters.items() if table}


@settings(max_examples=400, deadline=None)
@given(logs(), st.lists(st.integers(0, 29), min_size=2, max_size=4), st.booleans())
def test_a_carried_state_decides_as_the_one_read_afterwards(
    log: list[LogRecord], cuts: list[int], is_sparse: bool
) -> None:
    """Read for the last piece at the first fence, carried over every piece between: the same batch."""
    edges = sorted({min(cut, len(log) - 1) for cut in cuts})
    store = DictStore(SMALL)
    if edges[0]:
        store.run(log[: edges[0]], [])
    last = decode_batch(log[edges[-1] :], 0, 1)
    asked = wanted(last.records, SMALL)
    state = store.read(asked)
    if is_sparse:
        drop_empty(state)
    for start, end in pairwise(edges):
        batch = store.decide(decode_batch(log[start:end], 0, 1))
        state = carry(state, batch)
        assert store.apply(batch)
    assert state.head == store.head
    assert state.page_counts == store.read(asked).page_counts
    carried, read = fold(last, state), store.decide(last)
    # An id that the store no longer has may still stand in the carried state, forgotten.
    assert carried.ids_again or not read.ids_again
    carried.ids_again = read.ids_again
    assert comparable(carried) == comparable(read)
