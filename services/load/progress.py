"""A line each second on a terminal, while a run goes on; nothing where nobody looks."""

from __future__ import annotations

import asyncio
from time import monotonic_ns

from rich.console import Console
from rich.live import Live
from rich.text import Text

from services.load.outcome import Verdict
from services.load.run import Run
from services.load.schedule import NANOSECONDS

INTERVAL_SECONDS = 1.0


async def show_progress(run: Run) -> None:
    """Show how a run gets on until cancelled."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(Text(describe(run)), refresh=True)
            await asyncio.sleep(INTERVAL_SECONDS)


def describe(run: Run) -> str:
    """Return one line on how far a run is."""
    generator = run.generator
    if run.state == "checking":
        return f"checking {', '.join(run.plan.site_names)[:60]} …"
    counts = dict.fromkeys(Verdict, 0)
    for outcome, n in generator.outcomes.items():
        counts[outcome.verdict] += n
    told = (
        f"sent {generator.sent:,} of {run.schedule.views:,}  acknowledged {counts[Verdict.COUNTED]:,}  "
        f"refused {counts[Verdict.REFUSED]:,}  unknown {counts[Verdict.UNKNOWN]:,}"
    )
    if run.state == "counting":
        return f"waiting for the balance: {told}  counted {run.counted:,}"
    elapsed = (
        max(0, monotonic_ns() - generator.began_ns) // NANOSECONDS if generator.began_ns else 0
    )
    last = generator.timeline.rows[-1] if generator.timeline.rows else None
    tail = f"  p50 {last.p50_ms:.1f} ms  p99 {last.p99_ms:.1f} ms" if last else ""
    waiting = f"  waiting {last.waiting:,}" if last and last.waiting > 0 else ""
    return f"{elapsed:>4} s  {told}  in flight {generator.in_flight}{waiting}{tail}"
