"""Weeks of quiet sites: chance, day and night, and whatever is done to some of them in the last week."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from itertools import accumulate

from tests.support.alert_scenarios import DAY, HOUR, INGEST, SLOW, V, healthy

WEEKS = 3
"""Two to know the sites by, and one in which things happen."""

MINUTES = WEEKS * 7 * DAY
WEEK_BEGINS = MINUTES - 7 * DAY
LOCAL_HOURS = 7
"""Viet Nam is so many hours ahead of UTC."""

Cuts = Mapping[str, Sequence[range]]
"""Name → minutes from the beginning in which nobody comes."""


def traffic(peaks: Mapping[str, float], cuts: Cuts, seed: int | None = 1) -> dict[str, list[int]]:
    """Return name → views counted so far, every `SLOW` minutes.

    Args:
        peaks: name → views an hour at noon; at four in the morning there are a tenth of them.
        cuts: when nobody comes.
        seed: of chance; `None`: as many as are to be expected, day and night alike.
    """
    chance = random.Random(seed)
    return {
        name: list(accumulate(_views(peak, minute, cuts.get(name, ()), seed and chance) for minute in range(0, MINUTES + 1, SLOW)))
        for name, peak in peaks.items()
    }  # fmt: skip


def series(counts: Mapping[str, list[int]], proxies: Mapping[str, str]) -> dict[str, str]:
    """Return all series: those of sites, of the proxies they come through (site → proxy), and of a system that is well."""
    sums: dict[str, list[int]] = {}
    for site, values in counts.items():
        proxy = proxies.get(site, "none")
        sums[proxy] = (
            [a + b for a, b in zip(sums[proxy], values, strict=True)] if proxy in sums else values
        )
    return (
        healthy(MINUTES, SLOW)
        | {f'{V}_site_views_total{{{INGEST}, site="{site}"}}': _text(v) for site, v in counts.items()}
        | {f'{V}_proxy_views_total{{{INGEST}, proxy="{proxy}"}}': _text(v) for proxy, v in sums.items()}
    )  # fmt: skip


def _views(
    peak: float, minute: int, cuts: Sequence[range], chance: random.Random | int | None
) -> int:
    if any(minute in cut for cut in cuts):
        return 0
    if not isinstance(chance, random.Random):
        return round(peak * SLOW / HOUR)
    hour = (minute / HOUR + LOCAL_HOURS) % 24
    mean = peak * (0.55 - 0.45 * math.cos((hour - 4) / 24 * 2 * math.pi)) * SLOW / HOUR
    return _poisson(mean, chance)


def _poisson(mean: float, chance: random.Random) -> int:
    """Return a number of independent events (Knuth, The Art of Computer Programming, section 3.4.1)."""
    limit, n, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        n += 1
        product *= chance.random()
    return n


def _text(values: list[int]) -> str:
    return " ".join(map(str, values))
