"""The command `load`: views on a fixed schedule, and the proof that each was counted or accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from services.cli.option import SiteId
from services.load.generator import Limits
from services.load.plan import Plan, read_replay
from services.load.plot import plot_svg
from services.load.progress import show_progress
from services.load.report import print_result
from services.load.result import Result
from services.load.run import Run
from services.load.schedule import Phase, parse_seconds

RATE_MAX = 1_000_000
SECONDS_MAX = 7 * 86_400


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(load)


def load(
    url: Annotated[str, typer.Option("--url", help="Where views go, e.g. http://127.0.0.1:8080.")],
    site: SiteId,
    rate: Annotated[float, typer.Option(min=0.01, max=RATE_MAX, help="Views a second.")],
    duration: Annotated[str, typer.Option(help="How long: 30s, 5m, 1h.")],
    visitors: Annotated[
        int, typer.Option(min=1, max=1 << 32, help="How many readers to invent.")
    ] = 1_000,
    pages: Annotated[int, typer.Option(min=1, max=1 << 32, help="How many pages to invent.")] = 100,
    retry: Annotated[
        bool, typer.Option("--retry", help="Repeat unknown outcomes with the same id, for 90 s.")
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="An access log (common, combined): send its page views with its addresses and agents."
        ),
    ] = None,
    token: Annotated[
        str,
        typer.Option(
            envvar="VISIT_COUNTER_LOAD_TOKEN",
            help="A token of the test site: lifts the rules for bots and rates, and names readers.",
        ),
    ] = "",
    count_into: Annotated[
        str, typer.Option(help="Name the site again to count into one that is not for tests.")
    ] = "",
    api_url: Annotated[
        str, typer.Option(help="Where numbers are read, where that is not --url.")
    ] = "",
    connections: Annotated[int, typer.Option(min=1, max=20_000, help="Connections at most.")] = 256,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=300, help="Seconds an answer is waited for.")
    ] = 10.0,
    plot: Annotated[Path | None, typer.Option(help="Write a plot of the latencies (SVG).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Load a test site by a fixed schedule, wait for the balance, and print sent = counted + refused + unknown.

    Latency counts from the moment a view was due, so that a stall shows. Exit status: 0 all well, 1 the books do not close, 2 the
    rate was not reached. Ctrl-C ends with the figures so far. Addresses (X-Forwarded-For) are believed only where the service trusts
    this machine as a proxy; without that, and without a token, all readers are one and its rate limit holds.
    """
    plan = Plan(
        url=url,
        api_url=api_url,
        sites=(site,),
        phases=(Phase(rate, _seconds(duration)),),
        visitors=visitors,
        pages=pages,
        token=token,
        count_into=frozenset({count_into}),
        replay=() if replay is None else tuple(read_replay(replay)),
        limits=Limits(connections=connections, answer_seconds=timeout, is_retrying=retry),
    )
    result = run_plan(plan)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
    else:
        print_result(result, Console(highlight=False, soft_wrap=True))
    if plot is not None:
        plot.write_text(plot_svg(result), encoding="utf-8")
    raise typer.Exit(result.exit_status)


def run_plan(plan: Plan) -> Result:
    """Carry out a plan in an event loop of its own; Ctrl-C ends it early, a second one at once."""

    async def execute() -> Result:
        run = Run(plan)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, _stop, run)
        progress = asyncio.create_task(show_progress(run))
        try:
            return await run.execute()
        finally:
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)

    if sys.platform == "win32":
        return asyncio.run(execute())
    import uvloop  # noqa: PLC0415  # not on Windows

    return uvloop.run(execute())


def _stop(run: Run) -> None:
    """End a run early; with nothing left to stop, end at once."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
    run.stop()


def _seconds(duration: str) -> float:
    try:
        seconds = parse_seconds(duration)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= SECONDS_MAX:
        msg = f"{duration!r} is no duration of up to a week; write for example 30s, 5m or 1h"
        raise typer.BadParameter(msg, param_hint="--duration")
    return seconds
