"""Page patterns (`pages`, `exclude_pages`, `forget-pages`): `*` within a segment, `**` across segments.

`/tin-tuc/*` matches `/tin-tuc/bai-1` but not `/tin-tuc/2026/bai-1`; `/tin-tuc/**` matches both, and `/tin-tuc` itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn one page pattern into an expression that matches whole canonical paths.

    Raises:
        ValueError: when the pattern does not begin with `/`.
    """
    if not pattern.startswith("/"):
        msg = f"page pattern {pattern!r} must begin with '/', for example '/tin-tuc/**'"
        raise ValueError(msg)
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("/**", at) and at + 3 == len(pattern):
            parts.append("(?:/.*)?")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        elif pattern[at] == "*":
            parts.append("[^/]*")
            at += 1
        else:
            parts.append(re.escape(pattern[at]))
            at += 1
    return re.compile("".join(parts), re.DOTALL)


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a claim that says whether a canonical path matches one of `patterns`."""
    listed = tuple(patterns)
    if "/**" in listed:
        return lambda _page: True
    compiled = tuple(compile_pattern(pattern) for pattern in listed)
    return lambda page: any(pattern.fullmatch(page) for pattern in compiled)
