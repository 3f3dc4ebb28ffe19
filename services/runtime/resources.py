"""What a process may use up and what ends by itself: memory, the disk of the embedded pair, a certificate."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.runtime.metrics import gauge

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""The memory limit of a container (https://docs.kernel.org/admin-guide/cgroup-v2.html)."""

CGROUP_V1_LIMIT = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
SQLITE_SUFFIXES = ("", "-wal")


def show_memory_limit(registry: CollectorRegistry) -> None:
    """Show how much memory the process may take: its container's limit, or all that the machine has."""
    if sys.platform == "win32":
        return
    gauge(
        registry,
        "visit_counter_memory_limit_bytes",
        "Memory that this process may take: its container's limit, else the machine's memory",
    ).set(_memory_limit())


def show_data(registry: CollectorRegistry, file: Path) -> None:
    """Show how large the file of the embedded pair is, and how much room its disk has left."""
    gauge(
        registry, "visit_counter_data_bytes", "Size of the embedded pair's file with its journal"
    ).set_function(lambda: _size(file))
    gauge(
        registry,
        "visit_counter_data_free_bytes",
        "Room left on the disk of the embedded pair's file",
    ).set_function(lambda: _free(file))


def show_certificate(registry: CollectorRegistry, ends_at: Callable[[], float]) -> None:
    """Show when a certificate ends (Unix seconds), asked for at each reading."""
    gauge(
        registry,
        "visit_counter_certificate_not_after_timestamp_seconds",
        "When the certificate that is served ends, Unix seconds",
    ).set_function(ends_at)


def _memory_limit() -> float:
    machine = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in (CGROUP_LIMIT, CGROUP_V1_LIMIT):
        try:
            return min(machine, float(limit.read_text(encoding="ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return machine


def _size(file: Path) -> float:
    total = 0
    for suffix in SQLITE_SUFFIXES:
        try:
            total += file.with_name(file.name + suffix).stat().st_size
        except OSError:
            continue
    return float(total)


def _free(file: Path) -> float:
    try:
        return float(shutil.disk_usage(file.parent).free)
    except OSError:
        return float("nan")
