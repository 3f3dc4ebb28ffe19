"""The headers that matter, picked from those that are sent."""

from __future__ import annotations

from services.ingest import request
from services.ingest.request import read_headers


def test_names_in_any_case() -> None:
    """HTTP does not tell cases apart, whichever way a request comes (RFC 9110 section 5.1)."""
    for change in (bytes.lower, bytes.title, bytes.upper):
        found = read_headers(
            [
                (change(b"user-agent"), b"Browser"),
                (change(b"origin"), b"https://a.example"),
                (change(b"referer"), b"https://a.example/x"),
                (change(b"x-forwarded-for"), b"192.0.2.1"),
                (change(b"authorization"), b"Bearer x"),
                (change(b"sec-purpose"), b"Prefetch;prerender"),
                (change(b"dnt"), b" 1"),
                (change(b"accept"), b"*/*"),
            ]
        )
        assert (found.user_agent, found.origin) == ("Browser", "https://a.example")
        assert (found.referer, found.authorization) == ("https://a.example/x", "Bearer x")
        assert found.forwarded == "192.0.2.1"
        assert found.is_prefetch
        assert found.asks_privacy


def test_a_proxy_may_add_a_header_of_its_own() -> None:
    """X-Forwarded-For in several lines reads as one list, in order (RFC 9110 section 5.3)."""
    found = read_headers([(b"X-Forwarded-For", b"192.0.2.1"), (b"x-forwarded-for", b"10.0.0.1")])
    assert found.forwarded == "192.0.2.1,10.0.0.1"


def test_invented_names_take_no_room() -> None:
    """However many names a client makes up, a bounded number is remembered, and the known ones are still read."""
    for number in range(3 * request.SPELLINGS_MAX):
        read_headers([(b"x-%d" % number, b"1"), (b"y" * 100 + b"%d" % number, b"1")])
    assert len(request._SPELLINGS) <= request.SPELLINGS_MAX
    assert read_headers([(b"oRiGiN", b"https://a.example")]).origin == "https://a.example"
    assert max(map(len, request._SPELLINGS)) <= request.SPELLING_LENGTH_MAX
