"""An independent oracle: counts a log's JSON values in order, in plain Python, without a line of
`visits/`.

It follows the words of the design (a view, a visit, a visitor, an id known for an hour of log
time), not the code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

HOUR = 3_600_000
GAP = 1_800_000


@dataclass
class Counted:
    """What a site's log amounts to."""

    views: int = 0
    visits: int = 0
    visitors: int = 0
    duplicates: int = 0
    pages: Counter[str] = field(default_factory=Counter)
    hours: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)


def count(values: Iterable[bytes]) -> dict[str, Counted]:
    """Count the values of one partition in log order; returns site → what it amounts to."""
    sites: dict[str, Counted] = {}
    last_seen: dict[tuple[str, str | None], int] = {}
    stored: dict[tuple[str, str], int] = {}
    clock = 0
    for value in values:
        try:
            record = json.loads(value)
            kind, site = record["kind"], record["site"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        clock = max(clock, record["received"])
        counted = sites.setdefault(site, Counted())
        if kind in {"view", "tally"}:
            key = (site, record["id"])
            if key in stored and clock - stored[key] <= HOUR:
                counted.duplicates += kind == "view"
                continue
            stored[key] = clock
        if kind == "view":
            _view(counted, last_seen, record)
        elif kind == "ping":
            own, before = (site, record.get("visitor")), (site, record.get("previous"))
            reader = own if own in last_seen else before
            if reader in last_seen and 0 <= record["at"] - last_seen[reader] <= GAP:
                last_seen[reader] = record["at"]
        elif kind == "tally":
            counted.refused.update(record["refused"])
    return sites


def _view(
    counted: Counted, last_seen: dict[tuple[str, str | None], int], record: dict[str, Any]
) -> None:
    at = record["at"]
    counted.views += 1
    counted.ids.add(record["id"])
    counted.pages[record["page"]] += 1
    counted.hours[at // HOUR] += 1
    visitor = record.get("visitor")
    if visitor is None:
        counted.visits += bool(record.get("entry"))
        return
    reader, before = (record["site"], visitor), (record["site"], record.get("previous"))
    last = last_seen.get(reader, last_seen.get(before))
    counted.visitors += reader not in last_seen
    counted.visits += last is None or at - last > GAP
    last_seen[reader] = max(at, last_seen.get(reader, at))
    if before in last_seen and before != reader:
        last_seen[before] = min(last_seen[before], at - GAP)
