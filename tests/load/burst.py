"""A burst: a quiet site, then many times the rate for a while (`--factor`), then quiet again.

Shows what happens when a story is shared: how far the views queue up, that those beyond what the machine can do are refused and
not lost, and how soon after the burst the site is as quick as before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from services.load.schedule import Phase
from tests.load.scenario import console, load, make_plan, parse_options, verdict

RECOVERED_MS = 100.0
"""Below this the median of a second counts as quick again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=200, seconds=30, factor=10, arguments=arguments)
    part = options.seconds / 3
    burst = options.rate * options.extra["factor"]
    with options.system() as system:
        phases = [Phase(options.rate, part), Phase(burst, part), Phase(options.rate, part)]
        result = load("burst", options, make_plan(system, phases), system)
    after = [row for row in result.timeline if row.second >= 2 * part]
    slow = [row.second for row in after if row.p50_ms > RECOVERED_MS or row.waiting > burst]
    recovered_seconds = slow[-1] + 1 - 2 * part if slow else 0.0
    longest = max((row.waiting for row in result.timeline), default=0)
    console.print(
        f"[bold]burst[/]      at most {longest:,} views waited to be sent; quick again {recovered_seconds:.0f} s after the burst"
    )
    return verdict(
        {
            "the books close": result.balance.closes,
            "every view of the schedule was sent": result.balance.sent == result.asked.views,
            "the site is quick again before the end": len(slow) < len(after),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
