"""Canonical pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visits.errors import PageError
from visits.page import OTHER, canonical_page
from visits.pattern import matcher


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/", "/"),
        ("https://portal.example", "/"),
        ("https://portal.example/a/?utm=1#top", "/a"),
        ("HTTP://portal.example/a", "/a"),
        ("/a//b/./c/../d/", "/a/b/d"),
        ("/../../a", "/a"),
        ("/%2e%2e/a", "/a"),
        ("/tin-t%E1%BB%A9c", "/tin-tức"),
        ("/tin-tu\u031b\u0301c", "/tin-tứ".replace("ứ", "ứ") + "c"),
        ("/a%2fb%25%3f%23", "/a%2Fb%25%3F%23"),
        ("/100%", "/100%25"),
        ("/%2525", "/%2525"),
        ("/Tin", "/Tin"),
        ("/" + "x" * 1023, "/" + "x" * 1023),
        ("/" + "x" * 1024, OTHER),
        ("/" + "đ" * 600, OTHER),
    ],
)
def test_spellings_of_a_page(address: str, page: str) -> None:
    """Different spellings of one address have one name."""
    assert canonical_page(address) == page


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "javascript:alert(1)",
        "ftp://x/a",
        "/a\x00",
        "/%00",
        "/a%0Ab",
        "/%ff",
        "/%c0%ae",
        "/\ud800",
        "/\x7f",
        " /a",
    ],
)
def test_what_names_no_page_is_refused(address: str) -> None:
    """Control characters, invalid UTF-8, other schemes: refused with a reason."""
    with pytest.raises(PageError, match=r"\w"):
        canonical_page(address)


def test_query_keys_are_kept_sorted_and_once_decoded() -> None:
    """Only the site's keys belong to the name; order and spelling of the query do not."""
    keys = frozenset({"id", "tab"})
    assert canonical_page("/a?utm=1&tab=x&id=5", keys) == "/a?id=5&tab=x"
    assert canonical_page("/a?id=%35&tab=x+y", keys) == canonical_page("/a?tab=x%20y&id=5", keys)
    assert canonical_page("/a?utm=1", keys) == "/a"


def test_ignore_case_lowers_the_path() -> None:
    """For servers that do not tell cases apart."""
    assert canonical_page("/Tin-TỨC", ignore_case=True) == "/tin-tức"
    assert canonical_page("/Plain", ignore_case=True) == "/plain"


def test_ignore_case_knows_keys_in_any_case_and_keeps_values() -> None:
    """A key of the query is written as the site spells it, in whatever case it came; values keep theirs."""
    keys = frozenset({"tabid", "ID"})
    page = "/default.aspx?ID=Ab&tabid=36"
    assert canonical_page("/Default.aspx?TabId=36&id=Ab", keys, ignore_case=True) == page
    assert canonical_page("/Default.aspx?TabId=36&id=Ab", keys) == "/Default.aspx"
    both = frozenset({"ID", "id"})
    assert canonical_page("/a?id=1&ID=2&Id=3", both, ignore_case=True) == "/a?ID=2&ID=3&id=1"


@given(st.text(max_size=60).map(lambda text: "/" + text), st.booleans())
def test_canonical_names_are_fixed_points(address: str, ignore_case: bool) -> None:
    """Naming a canonical name again gives the same name, query keys or not."""
    keys = frozenset({"id"})
    try:
        page = canonical_page(address, keys, ignore_case=ignore_case)
    except PageError:
        return
    if page != OTHER:
        assert canonical_page(page, keys, ignore_case=ignore_case) == page


def test_patterns() -> None:
    """`*` stays within a segment, `**` does not."""
    claims = matcher(["/tin-tuc/*", "/van-ban/**"])
    assert claims("/tin-tuc/a")
    assert not claims("/tin-tuc/a/b")
    assert claims("/van-ban")
    assert claims("/van-ban/a/b")
    assert not claims("/khac")
