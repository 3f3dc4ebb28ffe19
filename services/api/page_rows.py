"""What both pages of a site tell alike: the record day, the pages most viewed, and the ledger line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from services.api.balance import Balance
from services.api.facts import Ledger
from services.api.page_format import day_text, grouped, moment_text
from services.api.page_words import METRICS, PAGE_VIEWS_MIN, WORDS
from services.api.top import Ranking
from services.runtime.panel import Language
from services.runtime.site import Site
from visits.counters import MINUTE_MS, Metric
from visits.delta import LedgerEntry
from visits.window import local_day


def record_day(
    site: Site, balance: Balance | None, entries: Ledger | None, lang: Language
) -> str | None:
    """Say which local day had the most views; `None` where books or ledger are not at hand.

    What the ledger only estimates and lays evenly over several days makes no record: on those, what was counted stands alone.
    """
    if balance is None or entries is None:
        return None
    guessed = list(_guessed(site, entries))
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


def _guessed(site: Site, entries: Ledger) -> Iterator[tuple[str, str]]:
    """Yield the local days, first and last, over which views were laid that are only estimated."""
    for entry in entries:
        if entry.estimated and entry.outcome == "applied" and entry.metric == Metric.VIEWS:
            for _, start, end in entry.spans:
                if start is None or end is None:
                    continue
                first, last = local_day(start, site.zone), local_day(end - 1, site.zone)
                if first != last:
                    yield first.isoformat(), last.isoformat()


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
    """Return the latest lines of the ledger, and how many more there are; `None` where it is not at hand.

    What one command entered at once, as an import's entry a day, is one line with its sum: the data have each.
    """
    if entries is None:
        return None
    together: dict[tuple[object, ...], list[LedgerEntry]] = {}
    for entry in reversed(entries):
        if concerns(entry):
            minute = entry.at // MINUTE_MS
            same = (entry.who, entry.why, entry.outcome, entry.metric, entry.estimated)
            # A refusal has a reason of its own, a pattern that was forgotten no number.
            alone = entry.id if entry.reason or entry.forget is not None else ""
            together.setdefault((minute, *same, alone), []).append(entry)
    lines = list(together.values())
    return {
        "lines": [_line(site, line, lang) for line in lines[:most]],
        "more": max(0, len(lines) - most),
    }


def _line(site: Site, entries: list[LedgerEntry], lang: Language) -> dict[str, Any]:
    """Return entries of one kind, latest first, as one line."""
    words, latest = WORDS[lang], entries[0]
    # Where only pages were changed the sum over them is told.
    n = sum(entry.n or entry.pages_n for entry in entries)
    metric = METRICS[lang][Metric(latest.metric)]
    state = words["applied"] if latest.outcome == "applied" else words["refused"]
    return {
        "time": moment_text(latest.at, site.zone, lang),
        "amount": f"{metric}: {grouped(n, lang)}" if latest.forget is None else latest.forget,
        "count": words["entries"].format(n=len(entries)) if len(entries) > 1 else "",
        "who": latest.who,
        "why": latest.why,
        "evidence": latest.evidence,
        "state": f"{state}: {latest.reason}" if latest.reason else state,
        "estimated": latest.estimated,
    }
