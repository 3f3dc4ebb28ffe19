"""What both pages of a site tell alike: the record day, the pages most viewed, and the ledger line by line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from services.api.balance import Balance
from services.api.facts import Ledger
from services.api.page_format import day_text, grouped, moment_text
from services.api.page_words import METRICS, PAGE_VIEWS_MIN, WORDS
from services.api.top import Ranking
from services.runtime.panel import Language
from services.runtime.site import Site
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.window import local_day


def record_day(
    site: Site, balance: Balance | None, entries: Ledger | None, lang: Language
) -> str | None:
    """Say which local day had the most views; `None` where books or ledger are not at hand.

    What the ledger only estimates was laid evenly over its days: on those, what was counted stands alone.
    """
    if balance is None or entries is None:
        return None
    guessed = [
        (local_day(start, site.zone).isoformat(), local_day(end - 1, site.zone).isoformat())
        for entry in entries
        if entry.estimated and entry.outcome == "applied" and entry.metric == Metric.VIEWS
        for _, start, end in entry.spans
        if start is not None and end is not None
    ]
    views = {
        day.day: day.counted
        if any(first <= day.day <= last for first, last in guessed)
        else day.views
        for day in balance.books.days
    }
    best = max(views, key=lambda day: views[day], default="")
    if not best or views[best] <= 0:
        return WORDS[lang]["record_none"]
    day = day_text(date.fromisoformat(best), lang)
    return WORDS[lang]["record_text"].format(day=day, n=grouped(views[best], lang))


def listed_pages(ranking: Ranking, lang: Language, most: int) -> list[tuple[str, str]]:
    """Return the most viewed pages with their views, but for those below `PAGE_VIEWS_MIN`."""
    listed = [(page, n) for page, n in ranking.pages[:most] if n >= PAGE_VIEWS_MIN]
    return [(page, grouped(n, lang)) for page, n in listed]


def ledger_lines(
    site: Site,
    entries: Ledger | None,
    lang: Language,
    most: int,
    concerns: Callable[[LedgerEntry], bool] = lambda _entry: True,
) -> dict[str, Any] | None:
    """Return the latest entries as the pages tell them, and how many more there are; `None` where they are not at hand."""
    if entries is None:
        return None
    told = [entry for entry in reversed(entries) if concerns(entry)]
    return {
        "lines": [_line(site, entry, lang) for entry in told[:most]],
        "more": max(0, len(told) - most),
    }


def _line(site: Site, entry: LedgerEntry, lang: Language) -> dict[str, Any]:
    words = WORDS[lang]
    n, metric = entry.n, METRICS[lang][Metric(entry.metric)]
    if not entry.n and entry.pages_n:
        n = entry.pages_n
    state = words["applied"] if entry.outcome == "applied" else words["refused"]
    return {
        "time": moment_text(entry.at, site.zone, lang),
        "amount": f"{metric}: {grouped(n, lang)}" if entry.forget is None else entry.forget,
        "who": entry.who,
        "why": entry.why,
        "evidence": entry.evidence,
        "state": f"{state}: {entry.reason}" if entry.reason else state,
        "estimated": entry.estimated,
    }
