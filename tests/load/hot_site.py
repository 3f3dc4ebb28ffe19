"""One hot site among quiet ones: nine views of ten go to one portal, the rest to nine others.

A site's records go to one partition, so that a hot site is the work of one aggregator: this shows how far one partition carries, and
that its neighbours stay right.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from services.load.schedule import Phase
from tests.load.scenario import console, load, make_plan, parse_options, verdict

QUIET_SITES = 9
HOT_SHARE = 9 * QUIET_SITES
HOT_LEAST, HOT_MOST = 0.88, 0.92


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=1_000, seconds=30, arguments=arguments)
    names = ["hot", *(f"quiet-{number}" for number in range(QUIET_SITES))]
    with options.system(names) as system:
        hot, *quiet = system.sites
        plan = make_plan(
            system,
            [Phase(options.rate, options.seconds)],
            sites=[hot] * HOT_SHARE + quiet,
        )
        result = load("hot-site", options, plan, system)
    balance = result.balance
    share = (balance.after.get(hot, 0) - balance.before[hot]) / max(1, balance.counted)
    console.print(f"[bold]sites[/]      {share:.1%} of the views are the hot site's")
    return verdict(
        {
            "the books close": balance.closes,
            "the rate was reached": result.rate.is_reached,
            "the hot site has its share": HOT_LEAST < share < HOT_MOST or bool(options.url),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
