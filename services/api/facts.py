"""What is told of a site on its pages: gathered from the routes' own answers, each kept and shared with those who ask for data.

What cannot be had in time is left out, and the page says so: no page waits for the books of a large site, and none shows a false 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import date, timedelta
from typing import TypeVar

from msgspec import Struct

from services.api.balance import Balance, BalanceRoutes
from services.api.history import HistoryRoutes, Past
from services.api.lane import Kept
from services.api.ledger import LedgerRoutes
from services.api.reading import Answer, Readings
from services.api.top import Ranking, TopRoutes, Window
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.counters import Metric
from visits.delta import LedgerEntry
from visits.errors import PartitionStoppedError, UnavailableError
from visits.history import Interval
from visits.window import local_day

PIECE_SECONDS = 3.0
"""How long a page waits for one of its pieces; less than a `Lane` lets the page itself take."""

T = TypeVar("T")
Ledger = tuple[LedgerEntry, ...]


class Facts(Struct, frozen=True):
    """What the statistics page tells; a piece is `None` where it cannot be had now.

    Attributes:
        answers: metric → the counters as they stand.
        pasts: interval → the series of the chosen metric.
        ranking: the most viewed pages of 30 days.
        ledger: every entry, in log order.
        balance: the closed books.
    """

    answers: dict[Metric, Answer]
    pasts: dict[Interval, Past | None]
    ranking: Ranking | None
    ledger: Ledger | None
    balance: Balance | None


class MonthFacts(Struct, frozen=True):
    """What the report of a month tells; a piece is `None` where it cannot be had now.

    Attributes:
        first: the month's first day.
        last: its last day, also where that is still to come.
        kept_from: the first day of which the views by page are still kept.
        as_of: for which moment the numbers hold (Unix milliseconds).
        days: metric → the series of its days.
        before: metric → what the whole month before had.
        ranking: the most viewed pages, from `kept_from` or `first` on; `None` also where no day of the month is kept.
        ledger: every entry, in log order.
        balance: the closed books.
    """

    first: date
    last: date
    kept_from: date
    as_of: int
    days: dict[Metric, Past | None]
    before: dict[Metric, Past | None]
    ranking: Ranking | None
    ledger: Ledger | None
    balance: Balance | None


class FactFinder:
    """Gathers what the pages tell."""

    def __init__(
        self,
        readings: Readings,
        history: HistoryRoutes,
        top: TopRoutes,
        ledger: LedgerRoutes,
        balance: BalanceRoutes,
    ) -> None:
        """Take the routes whose answers are told."""
        self._readings = readings
        self._history = history
        self._top = top
        self._ledger = ledger
        self._balance = balance

    async def of_site(self, site: Site, metric: Metric) -> Facts:
        """Gather what the statistics page tells.

        Raises:
            ProblemError: nothing was counted yet.
        """
        answers = await self._answers(site)
        intervals = (Interval.HOUR, Interval.DAY, Interval.MONTH)
        (ranking, ledger, balance), pasts = await asyncio.gather(
            asyncio.gather(
                _if_there(self._top.ranking(site, Window.MONTH, PIECE_SECONDS)),
                _if_there(self._ledger.entries(site, PIECE_SECONDS)),
                _if_there(self._balance.closed(site, PIECE_SECONDS)),
            ),
            asyncio.gather(
                *[
                    _if_there(self._history.past(site, metric, interval, None, None, PIECE_SECONDS))
                    for interval in intervals
                ]
            ),
        )
        return Facts(answers, dict(zip(intervals, pasts, strict=True)), ranking, ledger, balance)

    async def of_month(self, site: Site, first: date) -> MonthFacts:
        """Gather what the report of the month that begins with `first` tells.

        Raises:
            ProblemError: nothing was counted yet.
        """
        answer = (await self._answers(site))[site.settings.metric]
        last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        kept_days = self._readings.configuration.settings.parameters.page_days
        kept_from = local_day(answer.as_of, site.zone) - timedelta(days=kept_days - 1)
        since = max(first, kept_from)
        month_before = first - timedelta(days=1)
        (ranking, ledger, balance), days, before = await asyncio.gather(
            asyncio.gather(
                self._ranking_since(site, since, last),
                _if_there(self._ledger.entries(site, PIECE_SECONDS)),
                _if_there(self._balance.closed(site, PIECE_SECONDS)),
            ),
            self._sums(site, Interval.DAY, first, last),
            self._sums(site, Interval.MONTH, month_before.replace(day=1), month_before),
        )
        return MonthFacts(
            first, last, kept_from, answer.as_of, days, before, ranking, ledger, balance
        )

    async def _answers(self, site: Site) -> dict[Metric, Answer]:
        """Return the counters of every metric."""
        windows = site.settings.windows
        rendered = await asyncio.gather(
            *[self._readings.rendered(site, metric, windows) for metric in Metric]
        )
        return {metric: found.answer for metric, found in zip(Metric, rendered, strict=True)}

    async def _ranking_since(self, site: Site, first: date, last: date) -> Ranking | None:
        return (
            await _if_there(self._top.ranking_between(site, first, last, PIECE_SECONDS))
            if first <= last
            else None
        )

    async def _sums(
        self, site: Site, interval: Interval, first: date, last: date
    ) -> dict[Metric, Past | None]:
        """Return the series of every metric."""
        start, end = first.isoformat(), last.isoformat()
        pasts = await asyncio.gather(
            *[
                _if_there(self._history.past(site, metric, interval, start, end, PIECE_SECONDS))
                for metric in Metric
            ]
        )
        return dict(zip(Metric, pasts, strict=True))


async def _if_there(answer: Awaitable[Kept[T]]) -> T | None:
    """Return what a lane has, also the last good one, or `None` where there is none yet."""
    try:
        return (await answer).value
    except (ProblemError, UnavailableError, PartitionStoppedError):
        return None
