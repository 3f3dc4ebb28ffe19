"""When the books of a load test close, and when not."""

from __future__ import annotations

import pytest

from services.load.balance import Balance, Sent, close
from services.load.outcome import COUNTED, NO_ANSWER, Outcome, Verdict, judge_view

BOT = Outcome(Verdict.REFUSED, "bot")
UNAVAILABLE = Outcome(Verdict.UNKNOWN, "unavailable")


def books(grew_by: int, *, lost: int = 0, unavailable: int = 0, own: int = 0) -> Balance:
    """100 acknowledged, 5 refused, and some without a known end, of site a; the service grew by so much there and by 2 in b."""
    sent = Sent()
    for site, outcome, n in (
        ("a", COUNTED, 100),
        ("a", BOT, 5),
        ("a", NO_ANSWER, lost),
        ("a", UNAVAILABLE, unavailable),
        ("b", COUNTED, 2),
    ):
        for _ in range(n):
            sent.note(site, outcome)
    return close(sent, {"a": 1_000, "b": 7}, {"a": 1_000 + grew_by, "b": 9}, own)


def test_the_books_close_when_exactly_what_was_acknowledged_is_counted() -> None:
    found = books(100)
    assert found.closes
    assert (found.sent, found.counted, found.refused, found.unknown) == (107, 102, {"bot": 5}, 0)


def test_one_acknowledged_view_missing_does_not_close() -> None:
    assert not books(99).closes
    assert "1 acknowledged views are not counted" in books(99).words


def test_one_view_too_many_does_not_close() -> None:
    assert not books(101).closes


@pytest.mark.parametrize("counted", [100, 101, 103])
def test_views_without_an_answer_may_be_counted_or_not(counted: int) -> None:
    found = books(counted, lost=1, unavailable=2)
    assert found.closes
    assert found.sent == found.counted + sum(found.refused.values()) + found.unknown


@pytest.mark.parametrize("counted", [99, 104])
def test_more_or_fewer_than_the_unknown_allow_does_not_close(counted: int) -> None:
    assert not books(counted, lost=1, unavailable=2).closes


def test_sites_are_closed_apart_so_that_a_view_counted_for_another_site_shows() -> None:
    sent = Sent()
    for site in ("a", "b"):
        sent.note(site, COUNTED)
    found = close(sent, {"a": 0, "b": 0}, {"a": 2, "b": 0})
    assert found.counted == found.sent == 2
    assert not found.closes


def test_a_new_difference_in_the_services_own_books_does_not_close() -> None:
    assert not books(100, own=1).closes
    assert "own books differ by 1" in books(100, own=1).words


def test_a_service_that_says_nothing_proves_nothing() -> None:
    found = close(Sent(), {"a": 0}, None)
    assert not found.closes
    assert found.counted == -1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (202, b'{"counted":true,"position":"0:1","id":"abcdefgh"}', COUNTED),
        (202, b'{ "counted": true }', COUNTED),
        (202, b'{"counted":false,"reason":"bot"}', BOT),
        (429, b'{"reason":"rate_limit"}', Outcome(Verdict.REFUSED, "rate_limit")),
        (503, b'{"reason":"unavailable"}', UNAVAILABLE),
        (502, b"<html>", Outcome(Verdict.UNKNOWN, "http_502")),
        (200, b"<html>", Outcome(Verdict.REFUSED, "http_200")),
        (202, b"\xff", Outcome(Verdict.REFUSED, "http_202")),
    ],
)
def test_an_answer_means_counted_refused_or_unknown(
    status: int, body: bytes, expected: Outcome
) -> None:
    assert judge_view(status, body) == expected
