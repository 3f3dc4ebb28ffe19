"""Lines of Apache and nginx as they are really written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer.line import Hit, LineError, parse_ncsa, parse_time, unescape

AT = 1_431_857_103_000
"""2015-05-17T10:05:03Z."""

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:24.0) Gecko/20140205 Firefox/24.0"


def test_apache_common() -> None:
    """The common format has neither referrer nor user agent: nothing is known, not nothing was sent."""
    hit = parse_ncsa('127.0.0.1 - frank [17/May/2015:10:05:03 +0000] "GET /a.gif HTTP/1.0" 200 23')
    assert hit == Hit(AT, "127.0.0.1", "", "GET", "/a.gif", "200", "", None)


def test_apache_combined() -> None:
    """Referrer and user agent stand between quotes; `-` is none."""
    line = (
        '83.149.9.216 - - [17/May/2015:17:05:03 +0700] "GET /bai?id=1 HTTP/1.1" 304 - '
        f'"https://portal.example/" "{FIREFOX}"'
    )
    assert parse_ncsa(line) == Hit(
        AT, "83.149.9.216", "", "GET", "/bai?id=1", "304", "https://portal.example/", FIREFOX
    )


def test_nginx_escapes_and_forwarded_for() -> None:
    """A quote is written as hexadecimal, and in the `main` format X-Forwarded-For is one more field."""
    line = (
        r'10.0.0.2 - - [17/May/2015:10:05:03 +0000] "GET /\xC3\xA1 HTTP/2.0" 200 612 "-" '
        r'"Mozilla \x22x\x22" "203.0.113.9, 10.0.0.1"'
    )
    assert parse_ncsa(line) == Hit(
        AT, "10.0.0.2", "203.0.113.9, 10.0.0.1", "GET", "/á", "200", "", 'Mozilla "x"'
    )


def test_apache_escaped_quotes_in_every_field() -> None:
    """A quote within a field is escaped and does not end it."""
    line = r'::1 - - [17/May/2015:10:05:03 +0000] "GET /a\"b HTTP/1.1" 200 1 "http://x/\"" "U \"A\" \\"'
    hit = parse_ncsa(line)
    assert (hit.address, hit.target, hit.referrer) == ("::1", '/a"b', 'http://x/\\"')
    assert hit.agent == 'U "A" \\'


def test_user_names_with_spaces_and_ipv6() -> None:
    """A name that was signed in with may hold spaces."""
    hit = parse_ncsa(
        '2001:db8::1 - Nguyen Van A [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1'
    )
    assert (hit.address, hit.target) == ("2001:db8::1", "/")


def test_a_virtual_host_before_the_address() -> None:
    """Apache's vhost_combined begins with host and port."""
    hit = parse_ncsa(
        'portal.example:443 198.51.100.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "x"'
    )
    assert (hit.address, hit.agent) == ("198.51.100.7", "x")


@pytest.mark.parametrize("request_line", ["-", r"\x16\x03\x01", "", "GET", "hello world"])
def test_requests_that_are_no_http(request_line: str) -> None:
    """A line of a broken request is a line all the same: it has no page."""
    hit = parse_ncsa(f'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "{request_line}" 400 0 "-" "-"')
    assert hit.method != "GET" or not hit.target
    assert hit.agent == ""


def test_http_versions() -> None:
    """The version is no part of the target, whatever it is; HTTP/0.9 has none."""
    line = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "{}" 200 0'
    for request in ("GET /a b HTTP/1.1", "GET /a b HTTP/1.0", "GET /a b HTTP/2", "GET /a b"):
        hit = parse_ncsa(line.format(request))
        assert (hit.method, hit.target) == ("GET", "/a b")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1',
        '1.2.3.4 - - [17/Foo/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1',
        '1.2.3.4 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1',
        '1.2.3.4 - - [17/May/2015:10:05:03] "GET / HTTP/1.1" 200 1',
        '1.2.3.4 - - [17/May/2015:10:05:xx +0000] "GET / HTTP/1.1" 200 1',
        '1.2.3.4 - - [17/May/1915:10:05:03 +0000] "GET / HTTP/1.1" 200 1',
        '1.2.3.4 - - [17/ay /2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1',
    ],
)
def test_lines_that_are_none(line: str) -> None:
    """What is no line of the format is refused with what is wrong."""
    with pytest.raises(LineError):
        parse_ncsa(line)


def test_times() -> None:
    """Offsets of whole and broken hours, on both sides; nginx's ISO 8601."""
    assert parse_time("17/May/2015:15:35:03 +0530") == AT
    assert parse_time("17/May/2015:00:35:03 -0930") == AT
    assert parse_time("2015-05-17T17:05:03+07:00") == AT


@given(st.binary(max_size=300))
def test_any_bytes_are_a_line_or_refused(raw: bytes) -> None:
    """No input raises anything else than `LineError`."""
    line = raw.decode("utf-8", "surrogateescape")
    for text in (
        line,
        f'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "{line}" 200 1 "{line}" "{line}"',
    ):
        try:
            hit = parse_ncsa(text)
        except LineError:
            continue
        assert isinstance(hit.at, int)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_unescaping_undoes_what_servers_do(text: str) -> None:
    """Every byte written in hexadecimal, as nginx may, gives the text again."""
    escaped = "".join(f"\\x{byte:02X}" for byte in text.encode())
    assert unescape(escaped) == text
