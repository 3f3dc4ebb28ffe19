"""Run benchmarks and print one table; `--list` names them."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import tests.bench
from tests.support.bench import ROUNDS, SECONDS, Bench, Figure
from tests.support.bench_report import print_report, write_report
from tests.support.machine import describe_machine

RESULTS = Path(__file__).resolve().parents[2] / "bench-results"


def main() -> int:
    """Run what was asked for; the exit code is 1 when a benchmark could not be measured, whatever the figures say."""
    arguments = _parse()
    names = _names()
    if arguments.list:
        for name in names:
            print(f"{name:16} {_first_sentence(name)}")
        return 0
    machine = describe_machine()
    figures: list[Figure] = []
    failed = []
    for name in arguments.names or names:
        with tempfile.TemporaryDirectory(prefix=f"visit-counter-{name}-") as directory:
            bench = Bench(
                name,
                Path(directory),
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                tell=_tell,
            )
            if not _measure(name, bench):
                failed.append(name)
            figures += bench.figures.values()
    print_report(figures, machine)
    _tell(f"written: {write_report(figures, machine, RESULTS)}")
    if failed:
        _tell(f"not measured: {', '.join(failed)}")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="repetitions of every figure")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of one measurement")
    parser.add_argument("--list", action="store_true", help="name the benchmarks, measure nothing")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(_names())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(_names())}")
    return arguments


def _names() -> list[str]:
    return [
        found.name
        for found in pkgutil.iter_modules(tests.bench.__path__)
        if found.name != "__main__"
    ]


def _measure(name: str, bench: Bench) -> bool:
    """Run one benchmark; a failure is shown and does not stop the others."""
    run: Callable[[Bench], None] = importlib.import_module(f"tests.bench.{name}").run
    _tell(f"{name}: {_first_sentence(name)}")
    try:
        run(bench)
    except Exception:  # noqa: BLE001  # shown, whatever it is, and the next one gets its turn
        traceback.print_exc()
        return False
    return True


def _tell(text: str) -> None:
    """Show how far it is, beside the table on standard output."""
    print(text, file=sys.stderr, flush=True)


def _first_sentence(name: str) -> str:
    document = importlib.import_module(f"tests.bench.{name}").__doc__ or ""
    return document.strip().partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
