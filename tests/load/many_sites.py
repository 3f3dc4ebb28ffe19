"""Many sites: the same rate spread over hundreds of portals (`--count`).

Shows that the cost of a view does not depend on how many sites there are, and that the books close for every single one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from services.load.schedule import Phase
from tests.load.scenario import console, load, make_plan, parse_options, verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=1_000, seconds=30, count=600, arguments=arguments)
    names = [f"portal-{number:03d}" for number in range(int(options.extra["count"]))]
    with options.system(names) as system:
        plan = make_plan(system, [Phase(options.rate, options.seconds)], sites=system.sites)
        result = load("many-sites", options, plan, system)
    balance = result.balance
    grew = {site: balance.after[site] - balance.before[site] for site in balance.after}
    reached = [site for site, views in grew.items() if views > 0]
    console.print(
        f"[bold]sites[/]      {len(reached)} of {len(grew)} counted, {min(grew.values(), default=0):,} to "
        f"{max(grew.values(), default=0):,} views each"
    )
    return verdict(
        {
            "the books close": balance.closes,
            "the rate was reached": result.rate.is_reached,
            "every site counted": len(reached) == len(names) or bool(options.url),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
