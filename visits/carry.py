"""Carry a state on: what was read at one fence and the batch that begins there give the state at the batch's end.

By the replay law (`docs/exactly-once.md`) that is what a store would answer once the batch is applied, for everything that was
asked. So a batch may be decided while the one before it is still on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from visits.state import Batch, Head, State


def carry(state: State, batch: Batch) -> State:
    """Return the state after `batch`, which begins at the state's fence.

    It holds what was asked for, and more: amounts of what was not asked for are the batch's alone. The fold looks none of it up.
    """
    assert state.head.fence == batch.before, "a batch is carried over the state it begins at"
    return State(
        head=Head(
            batch.generation,
            batch.after,
            batch.as_of,
            batch.log_time,
            batch.id_window,
            batch.parameters,
        ),
        ids=state.ids | batch.ids,
        seen={
            site: state.seen.get(site, {}) | batch.seen.get(site, {})
            for site in state.seen.keys() | batch.seen.keys()
        },
        pages={
            site: _after(
                state.pages.get(site, {}),
                batch.pages_gone.get(site, ()),
                batch.pages.get(site, {}),
            )
            for site in state.pages.keys() | batch.pages.keys()
        },
        page_counts={
            site: batch.page_counts.get(site, count) for site, count in state.page_counts.items()
        },
        deltas={
            site: state.deltas.get(site, set()) | batch.ledger.get(site, {}).keys()
            for site in state.deltas.keys() | batch.ledger.keys()
        },
        counters={
            site: _after(state.counters.get(site, {}), (), batch.counters.get(site, {}))
            for site in state.counters.keys() | batch.counters.keys()
        },
        page_days={site: _days_after(state, batch, site) for site in state.page_days},
    )


def _days_after(state: State, batch: Batch, site: str) -> dict[int, dict[str, int]]:
    before, gone = state.page_days[site], batch.page_days_gone.get(site, {})
    added = batch.page_days.get(site, {})
    return {
        day: _after(before.get(day, {}), gone.get(day, ()), added.get(day, {}))
        for day in before.keys() | added.keys()
        if day >= batch.page_days_before
    }


def _after(
    before: Mapping[str, int], gone: Iterable[str], added: Mapping[str, int]
) -> dict[str, int]:
    """Remove, then add: the order of `Batch`."""
    after = dict(before)
    for name in gone:
        after.pop(name, None)
    for name, n in added.items():
        after[name] = after.get(name, 0) + n
    return after
