"""The clock of the services. `visits/` never reads one: it is handed the moment."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the wall clock's moment in Unix milliseconds."""
    return time.time_ns() // 1_000_000
