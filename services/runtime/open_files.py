"""How many files and connections a process may hold open."""

from __future__ import annotations

import sys

CONNECTIONS_MAX = 30_000
"""How many connections a process holds at most: 10,000 streams (`max_streams`), and twice as many who count and read.

One takes some 10 KiB.
"""

OTHER_FILES = 256
"""Open files that are no client's: log, store, data file, listening sockets, static files being sent."""


def connections_max() -> int:
    """Return how many connections may be open: without room for one more file the loop could not even refuse (accept(2), EMFILE)."""
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    import resource  # noqa: PLC0415  # not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    # Where few files are allowed, half of them are the clients'.
    return min(CONNECTIONS_MAX, max(soft - OTHER_FILES, soft // 2))


def raise_open_files_limit() -> None:
    """Raise the soft limit to the hard one: a shell's usual 1,024 would end before `max_streams` does (getrlimit(2))."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        # macOS refuses "unlimited"; then the soft limit stands.
        return
