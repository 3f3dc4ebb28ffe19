"""The public statistics page of a site, and which of its forms is shown: the page, or a month's report for printing."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, NamedTuple

from fastapi import Query, Request, Response

from services.api.answer import conditional
from services.api.balance import Balance
from services.api.definitions import definitions
from services.api.facts import FactFinder, Facts
from services.api.history import Past, points
from services.api.lane import Lane
from services.api.page_format import (
    grouped,
    moment_text,
    month_text,
    period_mark,
    period_text,
)
from services.api.page_rows import ledger_lines, listed_pages, record_day
from services.api.page_words import (
    COUNTERS,
    DATA,
    METRICS,
    OUTCOMES,
    PAGE_VIEWS_MIN,
    WITHOUT_TABLE,
    WORDS,
)
from services.api.parameter import LangName, MetricName
from services.api.reading import Answer, Readings, tag_of
from services.api.rendering import HTML_TYPE, render
from services.api.report import first_of_month, month_values
from services.api.top import Ranking
from services.runtime.panel import CAPTION, Language, note, panel_lines
from services.runtime.site import Site
from visits.counters import Metric
from visits.history import Interval
from visits.window import local_day

AT_ONCE = 2
LEDGER_LINES = 20
TOP_PAGES = 20
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
MonthName = Annotated[
    str | None, Query(description="a month, as 2026-11: its report for printing instead")
]


class Page(NamedTuple):
    """One page, rendered."""

    html: bytes
    tag: str


class SiteRoutes:
    """The statistics page and the report of a site."""

    def __init__(self, readings: Readings, finder: FactFinder) -> None:
        """Take what reads."""
        self._readings = readings
        self._finder = finder
        self._lane: Lane[Page] = Lane(at_once=AT_ONCE)

    async def site_page(
        self,
        request: Request,
        site: str,
        metric: MetricName = None,
        month: MonthName = None,
        lang: LangName = None,
    ) -> Response:
        """Show a site's numbers, what they mean and where they are to be had as data; or a month's report for printing."""
        declared = self._readings.site(site)
        tongue = lang or declared.settings.lang
        chosen = metric or declared.settings.metric
        # The settings are part of what is asked: a site that was changed has another page.
        key = (declared.id, declared.settings, tongue, chosen, month)
        kept = await self._lane.get(key, lambda: self._draw(declared, tongue, chosen, month))
        page = kept.value
        return conditional(request, page.html, HTML_TYPE, page.tag, **PAGE_HEADERS)

    async def close(self) -> None:
        """End what is being drawn up."""
        await self._lane.close()

    async def _draw(self, site: Site, lang: Language, metric: Metric, month: str | None) -> Page:
        """Gather and render; rendering has a thread of its own, so that counters are answered meanwhile."""
        parameters = self._readings.configuration.settings.parameters
        shared = {
            "lang": lang,
            "site": site,
            "title": site.settings.name or site.id,
            "words": WORDS[lang],
            "definitions": definitions(lang, parameters, site),
            "least": PAGE_VIEWS_MIN,
        }
        if month is not None:
            found = await self._finder.of_month(site, first_of_month(site, month))
            return await asyncio.to_thread(
                lambda: _rendered(
                    "report.html", shared | month_values(site, found, lang, parameters.page_days)
                )
            )
        facts = await self._finder.of_site(site, metric)
        return await asyncio.to_thread(
            lambda: _rendered("site.html", shared | page_values(site, facts, metric, lang))
        )


def _rendered(template: str, values: dict[str, Any]) -> Page:
    """Return a page with its tag, which follows all that is told but the moment of telling."""
    # A site as a value is told apart by where it lies in memory; its settings stand in the definitions.
    untold = {"note", "made", "moments", "site"}
    told = {name: value for name, value in values.items() if name not in untold}
    return Page(render(template, **values), tag_of(f"{template}{told!r}"))


def page_values(site: Site, facts: Facts, metric: Metric, lang: Language) -> dict[str, Any]:
    """Return what the template of the statistics page wants besides the words."""
    answer = facts.answers[site.settings.metric]

    def moment(found: Ranking | Balance | None) -> str:
        time = "" if found is None else moment_text(found.as_of, site.zone, lang)
        return WORDS[lang]["made"].format(time=time)

    windows = site.settings.windows
    return {
        "caption": CAPTION[lang],
        "lines": panel_lines(answer.numbers, site.settings.metric, lang),
        "note": note(windows, answer.as_of, site.zone, lang, stale=answer.stale),
        "stale": answer.stale,
        "metric": metric,
        "metrics": METRICS[lang],
        "windows": windows.value,
        "counters": counter_rows(facts.answers, lang),
        "courses": [course_values(site, kind, past, metric, lang) for kind, past in facts.pasts.items()],
        "months": month_links(site, answer, facts.pasts.get(Interval.MONTH), lang),
        "record": record_day(site, facts.balance, facts.ledger, lang),
        "top": None if facts.ranking is None else listed_pages(facts.ranking, lang, TOP_PAGES),
        "other": None if facts.ranking is None else grouped(facts.ranking.other, lang),
        "books": None if facts.balance is None else book_values(facts.balance, lang),
        "ledger": ledger_lines(site, facts.ledger, lang, LEDGER_LINES),
        # Kept answers are of moments of their own.
        "moments": {
            "top": moment(facts.ranking),
            "books": moment(facts.balance),
        },
        "data": [(title, path, path not in WITHOUT_TABLE) for title, path in DATA[lang]],
    }  # fmt: skip


def counter_rows(answers: dict[Metric, Answer], lang: Language) -> list[tuple[str, str, list[str]]]:
    """Return name in words, name and numbers of each counter, the numbers in the order of `METRICS`."""
    return [
        (
            name,
            counter,
            [grouped(answers[metric].numbers[counter], lang) for metric in METRICS[lang]],
        )
        for counter, name in COUNTERS[lang].items()
    ]


def course_values(
    site: Site, interval: Interval, past: Past | None, metric: Metric, lang: Language
) -> dict[str, Any]:
    """Return what the template wants for one table that becomes a chart."""
    words = WORDS[lang]
    caption = words[f"{interval}_caption"].format(metric=METRICS[lang][metric])
    rows = []
    for period, n in points(past) if past is not None else []:
        local = local_day(period.start, site.zone).isoformat()
        rows.append(
            {
                "name": period_text(period.start, site.zone, interval, lang),
                "mark": period_mark(period.start, site.zone, interval),
                "month": local[:7] if interval is Interval.MONTH else None,
                "n": n,
                "text": grouped(n, lang),
            }
        )
    return {
        "id": interval.value,
        "title": words[interval.value],
        "caption": caption,
        "chart": words["chart"].format(caption=caption),
        "period": words[f"period_{interval}"],
        "rows": rows,
    }


def month_links(
    site: Site, answer: Answer, past: Past | None, lang: Language
) -> list[tuple[str, str]]:
    """Return the months that have a report, latest first: as the address wants them, and in words."""
    starts = [answer.as_of] if past is None else [period.start for period, _ in points(past)]
    days = [local_day(start, site.zone) for start in reversed(starts)]
    return [(day.isoformat()[:7], month_text(day, lang)) for day in days]


def book_values(balance: Balance, lang: Language) -> dict[str, Any]:
    """Return what the template wants of the closed books."""
    names = dict(balance.books.names)
    counted, repeats = names.pop("counted", 0), names.pop("duplicate", 0)
    refused = sorted(names.items(), key=lambda item: -item[1])
    outcomes = [("duplicate", repeats), *refused]
    total = counted + repeats + sum(names.values())
    return {
        "not_counted": grouped(repeats + names.get("bot", 0), lang),
        "received": grouped(total, lang),
        "counted": grouped(counted, lang),
        "outcomes": [
            (OUTCOMES[lang].get(name, name), grouped(n, lang)) for name, n in outcomes if n
        ],
        "difference": balance.difference,
        "totals": [
            (
                METRICS[lang][metric],
                [grouped(n, lang) for n in (total.carried_over, total.counted, total.corrected, total.total)],
            )
            for metric, total in balance.books.totals.items()
        ],
    }  # fmt: skip
