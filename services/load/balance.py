"""Whether the books close: what was sent against what the service says it counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic

from msgspec import Struct

from services.load.outcome import Outcome, Verdict
from services.load.reader import Reader, settled_total, views_total
from visits.errors import UnavailableError

STANDSTILL_SECONDS_MAX = 30.0
"""How long without progress the counter, or the service, is waited for."""

POLL_SECONDS = 0.1


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
    words: str


def close(
    outcomes: Mapping[Outcome, int], before: dict[str, int], after: dict[str, int] | None
) -> Balance:
    """Close the books of one run.

    Args:
        outcomes: what became of the views, by their senders.
        before: site → the service's views before the first was sent.
        after: the same once all were counted; `None`: the service could not be asked.
    """
    sent = sum(outcomes.values())
    acknowledged = sum(n for outcome, n in outcomes.items() if outcome.verdict is Verdict.COUNTED)
    refused = {
        outcome.reason: n
        for outcome, n in sorted(outcomes.items(), key=lambda item: -item[1])
        if outcome.verdict is Verdict.REFUSED
    }
    open_views = sent - acknowledged - sum(refused.values())
    if after is None:
        words = "the service does not say what it counted"
        return Balance(
            sent,
            acknowledged,
            -1,
            refused,
            open_views,
            closes=False,
            before=before,
            after={},
            words=words,
        )
    counted = sum(after[site] - before[site] for site in before)
    missing, surplus = acknowledged - counted, counted - acknowledged - open_views
    if missing > 0:
        words = f"{missing} acknowledged views are not counted"
    elif surplus > 0:
        words = f"{surplus} more views are counted than were sent: does something else count into the site?"
    elif open_views:
        words = f"of {open_views} views without an answer {counted - acknowledged} were counted"
    else:
        words = "every view is accounted for"
    return Balance(
        sent,
        acknowledged,
        counted,
        refused,
        unknown=open_views - max(0, min(open_views, counted - acknowledged)),
        closes=missing <= 0 and surplus <= 0,
        before=before,
        after=after,
        words=words,
    )


async def totals(reader: Reader, sites: tuple[str, ...]) -> dict[str, int]:
    """Return each site's views once all that is acknowledged by now is in them.

    Raises:
        UnavailableError: the service does not answer.
    """
    return {site: await settled_total(reader, site, STANDSTILL_SECONDS_MAX) for site in sites}


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
            after = {site: (await views_total(reader, site))[0] for site in before}
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
        return await totals(reader, tuple(before))
    except UnavailableError:
        return after
