"""Reading and counting mixed: views at one rate, and at the same time many more people who read the numbers (`--reads` a second).

Shows that reading never disturbs counting: both have a fixed schedule of their own, and the books close.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import msgspec
import uvloop

from services.load.generator import Generator, Limits
from services.load.outcome import COUNTED, judge_read
from services.load.plan import Plan
from services.load.report import print_result
from services.load.result import REACHED_SHARE, Percentiles, Result, percentiles
from services.load.run import Run
from services.load.schedule import Phase, Schedule
from services.load.target import parse_target
from services.load.workload import Reads
from tests.load.scenario import console, make_plan, parse_options, save, verdict, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=500, seconds=30, reads=2_000, arguments=arguments)
    reads_per_second = options.extra["reads"]
    with options.system() as system:
        plan = make_plan(system, [Phase(options.rate, options.seconds)])
        console.print(
            f"[bold]mixed[/]: {options.rate:,.0f} views/s and {reads_per_second:,.0f} reads/s for {options.seconds:,.0f} s, {system.name}"
        )
        result, readers = uvloop.run(both(plan, reads_per_second))
    print_result(result, console)
    reading = percentiles(readers.timeline.accepted)
    reached = readers.sent / options.seconds
    console.print(
        f"[bold]reads[/]      {reached:,.0f}/s, p50 {reading.p50_ms:.2f} ms, p99 {reading.p99_ms:.2f} ms from the moment due, "
        f"{readers.outcomes[COUNTED]:,} of {readers.sent:,} with numbers"
    )
    save("mixed", options, result)
    write("mixed-reads", options, reads_document(readers, reached, reading))
    return verdict(
        {
            "the books close": result.balance.closes,
            "the rate of views was reached": result.rate.is_reached,
            "the rate of reads was reached": reached >= REACHED_SHARE * reads_per_second,
            "every read was answered with numbers": readers.outcomes[COUNTED] == readers.sent,
        }
    )


async def both(plan: Plan, reads_per_second: float) -> tuple[Result, Generator]:
    """Count and read at the same time."""
    site = plan.sites[0]
    paths = [f"/v1/sites/{site}/counters", f"/v1/sites/{site}/pages?page=/load/page-1"]
    target = parse_target(plan.api_url)
    readers = Generator(
        target,
        Reads(target, paths[:1] * 9 + paths[1:]),
        Schedule([Phase(reads_per_second, plan.seconds)]),
        Limits(),
        judge_read,
    )
    run = Run(plan)
    result, _ = await asyncio.gather(run.execute(), readers.run())
    return result, readers


def reads_document(readers: Generator, reached: float, reading: Percentiles) -> bytes:
    """Return the readers' figures as JSON."""
    return msgspec.json.encode(
        {
            "reached_per_second": reached,
            "latency": reading,
            "statuses": {str(status): n for status, n in readers.statuses.items()},
            "errors": readers.errors,
            "timeline": readers.timeline.rows,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
