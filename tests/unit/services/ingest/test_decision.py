"""What counts and what does not, step by step."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from services.ingest.client_address import Client
from services.ingest.decision import Arrival, Refused, Rules
from services.ingest.rate_limit import RateLimiter
from services.ingest.request import Headers, ViewRequest
from services.runtime.site import SiteSettings, make_site
from visits.refusal import Refusal

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
TOKEN = "a-token-of-a-test-site"
HASH = "sha256:" + sha256(TOKEN.encode()).hexdigest()

SETTINGS: dict[str, dict[str, Any]] = {
    "open": {},
    "listed": {"origins": ("https://portal.example", "https://*.portal.example")},
    "closed": {"closed": "2026-01-01"},
    "test": {"test": True, "tokens": (HASH,)},
    "real": {"tokens": (HASH,)},
    "named": {"pages": ("/tin-tuc/**",)},
}
SITES = {name: make_site(name, SiteSettings(**some), 60, 2026) for name, some in SETTINGS.items()}


def arrive(site: str = "open", headers: dict[str, Any] | None = None, **request: Any) -> Arrival:
    return Arrival(
        ViewRequest(site, **({"page": "/a"} | request)),
        Headers(**({"user_agent": BROWSER} | (headers or {}))),
        Client("192.0.2.1", b"\xc0\x00\x02\x01"),
        SITES[site],
        0.0,
    )


def decide(arrival: Arrival, *, burst: int = 100) -> Refusal | None:
    refused = Rules(SITES, RateLimiter(1.0, burst)).decide(arrival)
    if refused is None:
        return None
    assert refused.hint, "a refusal says why"
    return refused.reason


def test_plain_view_counts() -> None:
    """A browser's view of a declared site counts, under its canonical page."""
    arrival = arrive(page="https://portal.example//a/../b/?x=1#y")
    assert decide(arrival) is None
    assert arrival.page == "/b"


def test_page_outside_the_patterns_counts_for_other() -> None:
    """Invented paths take no room where the webmaster names his."""
    arrival = arrive("named", page="/wp-login.php")
    assert decide(arrival) is None
    assert arrival.page == "(other)"


def test_unknown_site() -> None:
    """A site nobody declared is refused, and named."""
    refused = Rules(SITES, RateLimiter(0, 1)).site("nobody's\x00")
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.UNKNOWN_SITE
    assert "\x00" not in refused.hint


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"origin": "https://portal.example"}, False),
        ({"origin": "https://www.portal.example"}, False),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "https://evilportal.example"}, True),
        ({"origin": "https://portal.example.evil.example"}, True),
        ({"origin": "http://portal.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://["}, True),
        ({"referer": "https://portal.example/a?b"}, False),
        ({"referer": "https://evil.example/a"}, True),
        ({"origin": "https://evil.example", "referer": "https://portal.example/"}, True),
    ],
)
def test_origin_of_a_listed_site(headers: dict[str, str], refused: bool) -> None:
    """Origin, else the Referer, must be listed where it is present; neither is no refusal."""
    assert decide(arrive("listed", headers)) == (Refusal.ORIGIN if refused else None)


def test_origin_is_free_where_none_is_listed() -> None:
    """A site without a list counts everywhere."""
    assert decide(arrive(headers={"origin": "null"})) is None


def test_origin_hint_names_what_to_add() -> None:
    """The hint quotes the origin, never the page's address."""
    refused = Rules(SITES, RateLimiter(0, 1)).decide(
        arrive("listed", {"referer": "https://evil.example/private?x=1"})
    )
    assert refused is not None
    assert "https://evil.example'" in refused.hint
    assert "private" not in refused.hint


@pytest.mark.parametrize(
    ("arrival", "reason"),
    [
        (arrive("closed"), Refusal.CLOSED_SITE),
        (arrive(id="short"), Refusal.BAD_ID),
        (arrive(id="a" * 65), Refusal.BAD_ID),
        (arrive(id="ünïcödé-id"), Refusal.BAD_ID),
        (arrive(id="line\nbreak-"), Refusal.BAD_ID),
        (arrive(page="a"), Refusal.BAD_PAGE),
        (arrive(page=""), Refusal.BAD_PAGE),
        (arrive(page="javascript:alert(1)"), Refusal.BAD_PAGE),
        (arrive(page="/a\x00b"), Refusal.BAD_PAGE),
        (arrive(page="/%ff"), Refusal.BAD_PAGE),
        (arrive(headers={"is_prefetch": True}), Refusal.PREFETCH),
        (arrive(own=True), Refusal.OWN),
        (arrive(headers={"user_agent": ""}), Refusal.BOT),
        (arrive(headers={"user_agent": "  "}), Refusal.BOT),
        (arrive(headers={"user_agent": "curl/8.5"}), Refusal.BOT),
        (
            arrive(headers={"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}),
            Refusal.BOT,
        ),
    ],
)
def test_refused(arrival: Arrival, reason: Refusal) -> None:
    """Each kind of bad arrival is refused with its own reason."""
    assert decide(arrival) is reason


def test_ping_needs_no_page() -> None:
    """A ping says only that a reader is still there."""
    assert decide(arrive(kind="ping", page="")) is None


def test_rate() -> None:
    """The second view of a full bucket of one is told when to come again."""
    rules = Rules(SITES, RateLimiter(0.5, 1))
    assert rules.decide(arrive()) is None
    refused = rules.decide(arrive())
    assert refused is not None
    assert refused.reason is Refusal.RATE_LIMIT
    assert refused.retry_after_seconds == 3


def test_token_lifts_bot_and_rate_rules_of_a_test_site_only() -> None:
    """A load test with its token is counted; the same token on a real site changes nothing."""
    bearer = {"authorization": f"Bearer {TOKEN}", "user_agent": "curl/8"}
    rules = Rules(SITES, RateLimiter(1.0, 1))
    assert [rules.decide(arrive("test", bearer)) for _ in range(5)] == [None] * 5
    assert decide(arrive("real", bearer)) is Refusal.BOT
    assert decide(arrive("test", {"user_agent": "curl/8"})) is Refusal.BOT


@pytest.mark.parametrize("sent", ["Bearer wrong", "Bearer ", "Basic abc", f"bearer{TOKEN}", "é"])
def test_wrong_token_of_a_test_site_is_refused(sent: str) -> None:
    """A load test hears that its token is wrong, rather than of bots."""
    assert decide(arrive("test", {"authorization": sent})) is Refusal.UNAUTHORIZED


def test_the_widget_says_itself_when_a_page_is_seen() -> None:
    """A view that says `own` counts also while its browser still marks requests as those of a prepared page."""
    assert decide(arrive(headers={"is_prefetch": True}, own=False)) is None
