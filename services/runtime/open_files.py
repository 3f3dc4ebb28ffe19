"""How many files and connections a process may hold open."""

from __future__ import annotations

import sys


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
