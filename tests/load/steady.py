"""Steady load: a constant rate of views into one site.

Shows what one counter does all day: how long a view waits for its acknowledgement, how long until it is in the numbers, and that
every view is accounted for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from services.load.schedule import Phase
from tests.load.scenario import load, make_plan, parse_options, verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=1_000, seconds=30, arguments=arguments)
    with options.system() as system:
        plan = make_plan(system, [Phase(options.rate, options.seconds)])
        result = load("steady", options, plan, system)
    return verdict(
        {
            "the books close": result.balance.closes,
            "the rate was reached": result.rate.is_reached,
            "every view was acknowledged": result.balance.acknowledged == result.balance.sent,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
