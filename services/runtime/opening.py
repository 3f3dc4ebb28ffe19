"""Corrections as the command line, the demo and tests make them: deltas with their evidence, and how the site will read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from msgspec import Struct

from services.backends.port import CounterStore
from services.runtime.site import Site
from visits.counters import MINUTE_MS, Metric
from visits.delta import delta_amounts, opening_spans
from visits.partition import partition_of
from visits.record import VERSION, Delta
from visits.window import Windows, plan, ranges

OPENING_WHY = "opening balance"
"""What the ledger says of an old counter carried over."""


class Opening(Struct, frozen=True):
    """What an old counter had.

    Attributes:
        total: all in all.
        known: window (`today`, `week`, `month`, `year`) → what it showed.
        metric: which counter.
        windows: how the old counter cut its windows.
        pages: canonical page → views.
    """

    total: int
    known: Mapping[str, int]
    metric: Metric
    windows: Windows
    pages: Mapping[str, int]


def new_id() -> str:
    """Return a fresh event id: 16 characters, 96 random bits."""
    return secrets.token_urlsafe(12)


def opening_delta(
    site: Site,
    opening: Opening,
    as_of: int,
    bucket_minutes: int,
    *,
    now: int,
    evidence: str,
    who: str = "",
    delta_id: str | None = None,
) -> Delta:
    """Return the delta that carries an old counter over.

    Args:
        site: where to.
        opening: what it had.
        as_of: when it showed that (Unix milliseconds); its bucket is the last one.
        bucket_minutes: size of a bucket.
        now: the moment of the delta itself.
        evidence: what proves it.
        who: who asked.
        delta_id: for callers that may repeat themselves.

    Raises:
        DeltaError: the numbers do not fit into one another.
    """
    found = ranges(as_of, site.zone, opening.windows, bucket_minutes)
    return Delta(
        v=VERSION,
        site=site.id,
        id=delta_id or new_id(),
        at=now,
        received=now,
        metric=opening.metric,
        spans=tuple(opening_spans(opening.total, opening.known, found)),
        pages=dict(opening.pages),
        who=who,
        why=OPENING_WHY,
        evidence=evidence,
        estimated=True,
    )


async def read_panel(
    store: CounterStore,
    site: Site,
    partitions: int,
    bucket_minutes: int,
    now: int,
    metric: Metric,
    windows: Windows,
) -> dict[str, int]:
    """Return a site's numbers as they stand: `online` and every window; zeros where nothing is counted yet."""
    asked = plan(now // (bucket_minutes * MINUTE_MS), site.zone, windows, metric, bucket_minutes)
    online_after = now - site.settings.online_minutes * MINUTE_MS
    reading = await store.read_counters(
        partition_of(site.id, partitions), site.id, asked.fields, online_after, now
    )
    values = (
        [0] * len(asked.fields) if reading is None else [value or 0 for value in reading.values]
    )
    return {"online": 0 if reading is None else reading.online} | asked.sums(values)


def panel_with(
    panel: Mapping[str, int],
    delta: Delta,
    site: Site,
    bucket_minutes: int,
    now: int,
    metric: Metric,
    windows: Windows,
) -> dict[str, int]:
    """Return how a site's numbers will read once a delta is counted."""
    if delta.metric is not metric:
        return dict(panel)
    asked = plan(now // (bucket_minutes * MINUTE_MS), site.zone, windows, metric, bucket_minutes)
    amounts = delta_amounts(delta, bucket_minutes)
    added = asked.sums([amounts.get(field, 0) for field in asked.fields])
    return {name: n + added.get(name, 0) for name, n in panel.items()}
