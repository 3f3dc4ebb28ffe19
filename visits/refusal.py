"""Why a request was not counted: a closed set, alike in answers, metrics, tallies and the balance.

Changes together with `docs/wire-format.md` and the label values of `visit_counter_refused_total{reason}`.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """One reason for which a view is not counted."""

    # Answered 202 with "counted": false: the sender did nothing wrong.
    BOT = "bot"
    PREFETCH = "prefetch"
    OWN = "own"
    PING = "ping"
    # Answered with a problem document: the sender has something to mend.
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    UNKNOWN_SITE = "unknown_site"
    CLOSED_SITE = "closed_site"
    BAD_PAGE = "bad_page"
    BAD_ID = "bad_id"
    ORIGIN = "origin"
    RATE_LIMIT = "rate_limit"
    METHOD = "method"
    UNAUTHORIZED = "unauthorized"
    # Answered 503: the outcome may be unknown, the same id is sent again.
    UNAVAILABLE = "unavailable"


QUIET = frozenset({Refusal.BOT, Refusal.PREFETCH, Refusal.OWN, Refusal.PING})
"""Refusals answered `202 {"counted": false}`."""

HTTP_STATUS: dict[Refusal, int] = {
    Refusal.BOT: 202,
    Refusal.PREFETCH: 202,
    Refusal.OWN: 202,
    Refusal.PING: 202,
    Refusal.MALFORMED: 400,
    Refusal.BAD_PAGE: 400,
    Refusal.BAD_ID: 400,
    Refusal.UNAUTHORIZED: 401,
    Refusal.ORIGIN: 403,
    Refusal.UNKNOWN_SITE: 404,
    Refusal.CLOSED_SITE: 404,
    Refusal.METHOD: 405,
    Refusal.TOO_SLOW: 408,
    Refusal.TOO_LARGE: 413,
    Refusal.RATE_LIMIT: 429,
    Refusal.UNAVAILABLE: 503,
}
"""The HTTP status of each refusal (RFC 9110 section 15; 429 is RFC 6585 section 4)."""
