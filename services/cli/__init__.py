"""The command line `visit-counter` (DESIGN 4.1). Each command reads the configuration once and passes it on."""

from __future__ import annotations

import logging
import sys

import typer

from services.cli import (
    backup,
    correct,
    declare,
    doctor,
    export,
    import_log,
    load,
    rebuild,
    repartition,
    serve,
)
from services.runtime.logs import configure_logging
from visits.errors import VisitCounterError

app = typer.Typer(
    name="visit-counter",
    help="Counts the visits of portals, exactly once, and can prove it. Start with: visit-counter up",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
MODULES = (
    serve, declare, correct, import_log, load, doctor, rebuild, backup, export, repartition,
)  # fmt: skip

for module in MODULES:
    module.register(app)


def main() -> None:
    """Run the command line; an error is one sentence on stderr and exit status 1."""
    configure_logging("visit-counter", level=logging.WARNING, stream=sys.stderr)
    try:
        app()
    except VisitCounterError as error:
        print(f"visit-counter: {error}", file=sys.stderr)  # a command line speaks
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
