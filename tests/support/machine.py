"""What a figure was measured on: the machine and the versions of what ran."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

from tests.support.kafka_jars import KAFKA_VERSION

PACKAGES = ("uvicorn", "uvloop", "httptools", "msgspec", "aiokafka", "redis")
REPOSITORY = Path(__file__).resolve().parents[2]


def describe_machine() -> dict[str, str]:
    """Return names and values, ready to be printed; what cannot be found out is `?`."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "kafka": KAFKA_VERSION,
        "redis-server": _output("redis-server", "--version").partition(" v=")[2].split(" ")[0],
        "commit": _output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"),
    }
    return found | {name: version(name) for name in PACKAGES}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "?"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?"
    )


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "?"
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip() or "?"
