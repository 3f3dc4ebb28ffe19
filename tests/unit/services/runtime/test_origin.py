"""Origins: what is the same, what only looks alike, what cannot be declared."""

from __future__ import annotations

import pytest

from services.runtime.origin import declared_origin, origin_matcher, parse_origin

DECLARED = [
    "https://portal.example",
    "http://portal.example:8080",
    "https://*.hanoi.gov.vn",
    "https://*.dev.example:8443",
    "https://cổng.vn",
    "http://[::1]:3000",
    "http://localhost:3000",
]


matches = origin_matcher(declared_origin(text) for text in DECLARED)


@pytest.mark.parametrize(
    "text",
    [
        "https://portal.example",
        "https://portal.example/tin-tuc?x=1#y",
        "https://PORTAL.Example:443",
        "HTTPS://portal.example/",
        "http://portal.example:8080",
        "https://thanhxuan.hanoi.gov.vn",
        "https://a.b.hanoi.gov.vn/x",
        "https://thanhxuan.hanoi.gov.vn:443",
        "https://a.dev.example:8443",
        "https://" + "cổng.vn".encode("idna").decode("ascii"),
        "http://[::1]:3000/x",
        "http://localhost:3000",
    ],
)
def test_declared_origins_match(text: str) -> None:
    """Scheme, host and port agree; path, query and case of the host do not matter."""
    assert matches(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "portal.example",
        "//portal.example",
        "ftp://portal.example",
        "http://portal.example",
        "https://portal.example:8443",
        "https://portal.example:0443x",
        "https://www.portal.example",
        "https://portal.example.",
        "https://portal.example.evil.example",
        "https://evilportal.example",
        "https://hanoi.gov.vn",
        "https://.hanoi.gov.vn",
        "https://evil-hanoi.gov.vn",
        "https://evilhanoi.gov.vn",
        "https://hanoi.gov.vn.evil.example",
        "https://x.hanoi.gov.vn.evil.example",
        "http://x.hanoi.gov.vn",
        "http://x.hanoi.gov.vn:443",
        "https://x.hanoi.gov.vn:8443",
        "https://evil.example/x.hanoi.gov.vn",
        "https://evil.example?.hanoi.gov.vn",
        "https://evil.example#.hanoi.gov.vn",
        "https://evil.example\\.hanoi.gov.vn",
        "https://evil.example%2f.hanoi.gov.vn",
        "https://evil.example\t.hanoi.gov.vn",
        "https://evil.example\x00.hanoi.gov.vn",
        "https://x.hanoi.gov.vn\n",
        "https://x.hanoi.gov.vn@evil.example",
        "https://evil@x.hanoi.gov.vn",
        "https://user:pass@portal.example",
        "https://x.hаnoi.gov.vn",  # noqa: RUF001  # a Cyrillic letter that looks like a Latin one
        "https://xn--x.hnoi-43d.gov.vn",
        "https://x..hanoi.gov.vn",
        "https://-.hanoi.gov.vn",
        "https://*.hanoi.gov.vn",
        "https://a.dev.example",
        "https://dev.example:8443",
        "http://[::2]:3000",
        "https://" + "a" * 70 + ".hanoi.gov.vn",
        "https://portal.example https://evil.example",
    ],
)
def test_what_only_looks_alike_does_not_match(text: str) -> None:
    """Neither a similar name, nor another scheme or port, nor the apex of a wildcard."""
    assert matches(text) is False


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://Portal.Example", "https://portal.example"),
        ("https://portal.example:443", "https://portal.example"),
        ("http://portal.example:80", "http://portal.example"),
        ("HTTP://*.a.example:8080", "http://*.a.example:8080"),
        ("https://cổng.vn", "https://" + "cổng.vn".encode("idna").decode("ascii")),
    ],
)
def test_one_way_to_write_an_origin(written: str, kept: str) -> None:
    """Origins are kept as browsers send them; writing one again changes nothing."""
    assert declared_origin(written) == kept
    assert declared_origin(kept) == kept


@pytest.mark.parametrize(
    "text",
    ["", "*", "portal.example", "https://", "https://portal.example/", "https://portal.example/x",
     "https://portal.example?x", "https://user@portal.example", "https://*", "https://*.",
     "https://a.*.example", "https://*portal.example", "https://*.*.example", "ftp://portal.example",
     "https://portal.example:port", "https://portal .example", "https://-a.example", "null"],
)  # fmt: skip
def test_what_is_no_origin_stops_the_start(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="write scheme and host"):
        declared_origin(text)


def test_an_origin_is_parsed_once() -> None:
    """The same header costs a look-up, not a parse."""
    assert parse_origin("https://once.example") is parse_origin("https://once.example")
