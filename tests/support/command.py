"""Our own commands as subprocesses of an asynchronous test."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from dataclasses import dataclass
from pathlib import Path

from tests.support.visit_counter import REPOSITORY

COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit status, and what it printed."""

    status: int
    output: str


async def start(*arguments: str | Path) -> Process:
    """Start `visit-counter ARGUMENTS`; its output is one stream."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli",
        *map(str, arguments),
        stdout=PIPE,
        stderr=STDOUT,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
    )


async def finish(*arguments: str | Path) -> Finished:
    """Run `visit-counter ARGUMENTS` to its end; it is killed after `COMMAND_SECONDS`."""
    process = await start(*arguments)
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, output.decode("utf-8", "replace"))
