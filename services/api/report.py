"""The report of one month on A4 paper: in all and day by day, beside the month before, pages, refusals and corrections."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from services.api.balance import Balance
from services.api.facts import MonthFacts
from services.api.history import Past, points
from services.api.page_format import change, day_text, grouped, moment_text, month_text
from services.api.page_rows import ledger_lines, listed_pages
from services.api.page_words import METRICS, OUTCOMES, WORDS
from services.runtime.clock import now_ms
from services.runtime.panel import Language
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.window import day_start, local_day

MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
YEAR_MIN = 1971
LEDGER_LINES = 20
TOP_PAGES = 20


def first_of_month(site: Site, text: str) -> date:
    """Return the first day of a month written as 2026-11.

    Raises:
        ProblemError: it is none, or has not begun.
    """
    match = MONTH.fullmatch(text)
    if match is None or int(match[1]) < YEAR_MIN:
        raise ProblemError("malformed", f"month={text[:40]!r} is no month, e.g. 2026-11")
    first = date(int(match[1]), int(match[2]), 1)
    if first > local_day(now_ms(), site.zone):
        raise ProblemError(
            "malformed", f"month={text}: it has not begun in {site.settings.timezone}"
        )
    return first


def month_values(site: Site, facts: MonthFacts, lang: Language, kept_days: int) -> dict[str, Any]:
    """Return what the template of the report wants besides the words."""
    words = WORDS[lang]
    ranking = facts.ranking
    is_running = local_day(facts.as_of, site.zone) <= facts.last
    starts_late = ranking is not None and facts.kept_from > facts.first
    top_note = ""
    if starts_late:
        top_note = words["top_part"].format(kept=kept_days, day=day_text(facts.kept_from, lang))
    elif facts.kept_from > facts.last:
        top_note = words["top_gone"].format(kept=kept_days)
    return {
        "month": month_text(facts.first, lang),
        "month_id": facts.first.isoformat()[:7],
        "made": words["made"].format(time=moment_text(facts.as_of, site.zone, lang)),
        "is_running": is_running,
        "span": (facts.first.isoformat(), facts.last.isoformat()),
        "metrics": METRICS[lang],
        "sums": [_sum_row(facts, metric, lang, is_running=is_running) for metric in METRICS[lang]],
        "days": _day_rows(site, facts, lang),
        "top": None if ranking is None else listed_pages(ranking, lang, TOP_PAGES),
        "other": None if ranking is None else grouped(ranking.other, lang),
        "top_note": top_note,
        "is_gone": facts.kept_from > facts.last,
        "books": None if facts.balance is None else _refused(facts.balance, facts, lang),
        "ledger": ledger_lines(
            site,
            facts.ledger,
            lang,
            LEDGER_LINES,
            lambda entry: _concerns(entry, site, facts),
        ),
    }


def _sum(past: Past | None) -> int | None:
    return None if past is None else sum(past.sums)


def _sum_row(
    facts: MonthFacts, metric: Metric, lang: Language, *, is_running: bool
) -> tuple[str, str, str, str]:
    """Return a metric's name, the month's sum, the one before, and the change; a part of a month is no change of a whole one."""
    now, before = _sum(facts.days[metric]), _sum(facts.before[metric])
    return (
        METRICS[lang][metric],
        "–" if now is None else grouped(now, lang),
        "–" if before is None else grouped(before, lang),
        "–" if now is None or before is None or is_running else change(now, before, lang),
    )


def _day_rows(site: Site, facts: MonthFacts, lang: Language) -> list[tuple[str, list[str]]]:
    """Return each day with its numbers in the order of `METRICS`; days to come are left out."""
    numbers: dict[date, dict[Metric, int]] = {}
    for metric, past in facts.days.items():
        for period, n in points(past) if past is not None else []:
            numbers.setdefault(local_day(period.start, site.zone), {})[metric] = n
    return [
        (
            day_text(day, lang),
            [grouped(found[metric], lang) if metric in found else "–" for metric in METRICS[lang]],
        )
        for day, found in sorted(numbers.items())
    ]


def _refused(balance: Balance, facts: MonthFacts, lang: Language) -> dict[str, Any]:
    """Return what the month's requests were that are no views, by outcome."""
    first, last = facts.first.isoformat(), facts.last.isoformat()
    amounts: dict[str, int] = {}
    for day in balance.books.days:
        if first <= day.day <= last:
            for name, n in {"duplicate": day.duplicate, **day.refused}.items():
                amounts[name] = amounts.get(name, 0) + n
    told = sorted(amounts.items(), key=lambda item: -item[1])
    return {
        "not_counted": grouped(amounts.get("duplicate", 0) + amounts.get("bot", 0), lang),
        "outcomes": [(OUTCOMES[lang].get(name, name), grouped(n, lang)) for name, n in told if n],
        "difference": balance.difference,
    }


def _concerns(entry: LedgerEntry, site: Site, facts: MonthFacts) -> bool:
    """Claim that an entry was made in the month, or changes what it had."""
    start, end = day_start(facts.first, site.zone), day_start(facts.last, site.zone)
    if facts.first <= local_day(entry.at, site.zone) <= facts.last:
        return True
    return any(
        begins is not None and ends is not None and begins <= end and ends > start
        for _, begins, ends in entry.spans
    )
