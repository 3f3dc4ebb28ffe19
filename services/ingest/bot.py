"""Which user agents are programs: the public list of crawlers, and an empty one, which the list lets pass as human."""

from __future__ import annotations

from functools import lru_cache

import crawleruseragents

CACHE_SIZE = 10_000
"""One judgement costs 138 µs (DESIGN 6), so that they are kept by user agent."""


@lru_cache(CACHE_SIZE)
def why_bot(user_agent: str) -> str | None:
    """Return why a user agent is a program's, in a sentence; `None` for a browser's.

    Args:
        user_agent: at most 512 characters: the cache is bounded by entries, its callers bound the entry.
    """
    if not user_agent.strip():
        return "the request has no User-Agent, as every browser's has"
    matching = crawleruseragents.matching_crawlers(user_agent)
    if not matching:
        return None
    pattern = crawleruseragents.CRAWLER_USER_AGENTS_DATA[matching[0]]["pattern"]
    return f"the User-Agent matches {pattern!r} of the list crawler-user-agents"
