"""Whether the books close: what was sent against what the service says it counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from services.load.outcome import Outcome, Verdict
from services.load.reader import POLL_SECONDS, Reader, settled_totals, views_totals
from visits.errors import UnavailableError

STANDSTILL_SECONDS_MAX = 30.0
"""How long without progress the counter, or the service, is waited for."""


class Balance(Struct, frozen=True):
    """The books of one run.

    `sent = counted + refused + unknown` when it closes: of the views without an answer that says what became of them, some may have
    been counted all the same; these are in `counted`, the others in `unknown`.

    Attributes:
        sent: views sent at least once.
        acknowledged: answered as counted.
        counted: by how much the service's views grew; -1: it could not be asked.
        refused: reason → views.
        unknown: sent views that are neither refused nor counted by the service, and were not acknowledged.
        closes: nothing acknowledged is missing, and nothing is counted that was not sent.
        before, after: site → the service's views, all it ever counted.
        own_difference: by how much the differences in the service's own books (`/balance`) have grown; 0 is right.
        words: one sentence for people.
    """

    sent: int
    acknowledged: int
    counted: int
    refused: dict[str, int]
    unknown: int
    closes: bool
    before: dict[str, int]
    after: dict[str, int]
    own_difference: int
    words: str


class Sent:
    """What became of the views of each site, by their sender.

    Attributes:
        acknowledged: site → views answered as counted.
        open: site → views of which no answer says what became of them.
        refused: reason → views.
    """

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self.acknowledged: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def note(self, site: str, outcome: Outcome) -> None:
        """Take note of one view."""
        if outcome.verdict is Verdict.COUNTED:
            self.acknowledged[site] += 1
        elif outcome.verdict is Verdict.UNKNOWN:
            self.open[site] += 1
        else:
            self.refused[outcome.reason] += 1


def close(
    sent: Sent,
    before: dict[str, int],
    after: dict[str, int] | None,
    own_difference: int = 0,
) -> Balance:
    """Close the books of one run, site by site.

    Args:
        sent: what became of the views, by their sender.
        before: site → the service's views before the first was sent.
        after: the same once all were counted; `None`: the service could not be asked.
        own_difference: by how much the differences in the service's own books have grown.
    """
    grew = {} if after is None else {site: after[site] - before[site] for site in before}
    counted, acknowledged = sum(grew.values()), sent.acknowledged.total()
    missing = sum(max(0, sent.acknowledged[site] - n) for site, n in grew.items())
    surplus = sum(max(0, n - sent.acknowledged[site] - sent.open[site]) for site, n in grew.items())
    open_views = sent.open.total()
    return Balance(
        sent=acknowledged + open_views + sent.refused.total(),
        acknowledged=acknowledged,
        counted=-1 if after is None else counted,
        refused=dict(sent.refused.most_common()),
        unknown=open_views - max(0, min(open_views, counted - acknowledged)),
        closes=after is not None and missing == surplus == 0 and own_difference <= 0,
        before=before,
        after=after or {},
        own_difference=own_difference,
        words=_words(sent, counted if after is not None else -1, missing, surplus, own_difference),
    )


def _words(sent: Sent, counted: int, missing: int, surplus: int, own_difference: int) -> str:
    if counted < 0:
        return "the service does not say what it counted"
    if missing:
        return f"{missing} acknowledged views are not counted"
    if surplus:
        return f"{surplus} more views are counted than were sent: does something else count into the site?"
    if own_difference > 0:
        return f"the service's own books differ by {own_difference}: see /v1/sites/SITE/balance"
    if sent.open:
        open_views, found = sent.open.total(), counted - sent.acknowledged.total()
        return f"of {open_views} views without an answer {found} were counted"
    return "every view is accounted for"


async def wait_counted(
    reader: Reader,
    before: dict[str, int],
    acknowledged: int,
    on_progress: Callable[[int], None],
) -> dict[str, int] | None:
    """Wait until what was acknowledged is counted, and return each site's views then; `None` if the service stays away.

    Gives up when nothing was counted for `STANDSTILL_SECONDS_MAX`: the balance then shows what is missing.
    """
    counted, moved_at = -1, monotonic()
    while True:
        try:
            totals = await views_totals(reader, tuple(before))
            after = {site: total for site, (total, _) in totals.items()}
        except UnavailableError:
            after = None
        if after is not None:
            now_counted = sum(after.values()) - sum(before.values())
            if now_counted != counted:
                counted, moved_at = now_counted, monotonic()
                on_progress(counted)
            if counted >= acknowledged:
                break
        if monotonic() - moved_at > STANDSTILL_SECONDS_MAX:
            return after
        await asyncio.sleep(POLL_SECONDS)
    try:
        # Not before everything in the log is counted: a view counted twice would come late.
        return await settled_totals(reader, tuple(before), STANDSTILL_SECONDS_MAX)
    except UnavailableError:
        return after
