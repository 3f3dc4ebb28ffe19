"""The result of a run in words, for a terminal."""

from __future__ import annotations

from rich.console import Console

from services.load.result import GENERATOR_BUSY, Percentiles, Result

RATE_LIMIT_HINT = (
    "views were refused for coming too fast from one address: give --token of the test site, or trust this machine as a proxy "
    "(server.trusted_proxies), or raise server.rate_limit_per_second"
)

_NAME_WIDTH = 31


def print_result(result: Result, console: Console) -> None:
    """Print what a person wants to know, the verdict last; one fact a line, however narrow the terminal."""
    rate, balance, generator = result.rate, result.balance, result.generator
    console.print(
        f"[bold]rate[/]       asked {rate.asked:,.1f}/s, reached {rate.reached:,.1f}/s, acknowledged {rate.acknowledged:,.1f}/s"
    )
    for line in _latencies(result):
        console.print(line)
    console.print(f"[bold]answers[/]    {_counts(result.statuses) or 'none'}")
    if result.errors:
        console.print(f"[bold]errors[/]     {_counts(result.errors)}")
    console.print(
        f"[bold]traffic[/]    {generator.bytes_sent / 1e6:,.1f} MB sent, {generator.bytes_received / 1e6:,.1f} MB received, "
        f"{generator.connections:,} connections, at most {generator.in_flight_max:,} requests in flight, "
        f"{generator.repeats:,} repeats; generator {generator.cpu_share:.0%} of a core"
    )
    for hint in _hints(result):
        console.print(f"[yellow]note[/]       {hint}")
    console.print(f"[bold]balance[/]    {balance.words}")
    # The line that scripts look for: plain, on one line.
    counted = "?" if balance.counted < 0 else str(balance.counted)
    console.print(
        f"sent {balance.sent} = counted {counted} + refused {_refused(balance.refused)} + unknown {balance.unknown}",
    )
    verdicts = {
        0: "[green]the books close and the rate was reached[/]",
        1: "[red]the books do not close[/]",
        2: f"[red]the rate was not reached[/]: {rate.reached:,.1f} of {rate.asked:,.1f}/s; the books close",
    }
    stopped = "stopped early: " if result.interrupted else ""
    console.print(f"[bold]verdict[/]    {stopped}{verdicts[result.exit_status]}")


def _latencies(result: Result) -> list[str]:
    """Return a table of the distributions that have samples."""
    names = ("p50", "p90", "p99", "p99.9", "max", "samples")
    lines = [f"[bold]{'milliseconds':<{_NAME_WIDTH}}{''.join(f'{name:>11}' for name in names)}[/]"]
    rows: tuple[tuple[str, Percentiles], ...] = (
        ("due → acknowledged", result.latency),
        ("due → declined", result.declined),
        ("sent → answered (service time)", result.service),
        ("due → sent (generator's delay)", result.delay),
        ("acknowledged → visible", result.visible),
    )
    for name, found in rows:
        if found.samples:
            figures = (found.p50_ms, found.p90_ms, found.p99_ms, found.p99_9_ms, found.max_ms)
            told = "".join(f"{figure:>11,.2f}" for figure in figures)
            lines.append(f"{name:<{_NAME_WIDTH}}{told}{found.samples:>11,}")
    return lines


def _hints(result: Result) -> list[str]:
    hints = []
    if "rate_limit" in result.balance.refused:
        hints.append(RATE_LIMIT_HINT)
    if result.generator.cpu_share >= GENERATOR_BUSY:
        hints.append(
            "the generator used up a core: its own delay is in the latencies; run several, or on another machine"
        )
    if result.generator.in_flight_max >= result.asked.connections:
        hints.append(
            "all connections were in use at a time: views waited for one (that is in their latency); see --connections"
        )
    return hints


def _refused(refused: dict[str, int]) -> str:
    total = sum(refused.values())
    return f"{total} ({_counts(refused)})" if refused else str(total)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())
