"""A soak with kills: a steady load for a long time, while the parts of the system are killed in turn every few seconds (`--every`).

Views without an answer, or answered 503, are repeated with the same id, as the widget does. Shows that nothing acknowledged is lost and
nothing is counted twice, whoever dies. Only a system of its own is killed: `--url` is refused.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Sequence

from services.load.generator import Limits
from services.load.schedule import Phase
from tests.load.scenario import Options, console, load, make_plan, parse_options, verdict
from tests.load.system import System


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=500, seconds=60, every=5, arguments=arguments)
    if options.url:
        console.print("only a system of its own is killed: leave --url out")
        return 2
    with options.system() as system:
        plan = make_plan(
            system,
            [Phase(options.rate, options.seconds)],
            limits=Limits(is_retrying=True, answer_seconds=5.0, late_seconds=60.0),
        )
        stop = threading.Event()
        killed: list[str] = []
        killer = threading.Thread(target=kill_in_turn, args=(system, options, stop, killed))
        killer.start()
        try:
            result = load("soak-with-kills", options, plan, system)
        finally:
            stop.set()
            killer.join()
    console.print(f"[bold]killed[/]     {len(killed)} times: {', '.join(killed)}")
    return verdict(
        {
            "the books close": result.balance.closes,
            "every view was acknowledged in the end": result.balance.acknowledged
            == result.asked.views,
            "somebody was killed": bool(killed),
        }
    )


def kill_in_turn(
    system: System, options: Options, stop: threading.Event, killed: list[str]
) -> None:
    """Kill one process after the other and start it again at once, until told to stop or the schedule is over."""
    draw = random.Random()
    names = sorted(system.processes)
    draw.shuffle(names)
    every = options.extra["every"]
    while (len(killed) + 2) * every < options.seconds:
        if stop.wait(every * draw.uniform(0.8, 1.2)):
            return
        name = names[len(killed) % len(names)]
        system.processes[name].kill()
        killed.append(name)
        system.processes[name].start()


if __name__ == "__main__":
    sys.exit(main())
