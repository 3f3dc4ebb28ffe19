"""The laws of the balance: it closes after any log, and no single number can be changed without a check that names it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dictstore import DictStore
from tests.support.logs import NOON, ZONE, as_log, logs, view
from visits.balance import (
    Books,
    Check,
    between,
    close_books,
    is_carried_over,
    page_days_check,
    pages_check,
    pages_expected,
)
from visits.codec import LogRecord
from visits.counters import DAY_MS, HOUR_MS, Metric
from visits.delta import LedgerEntry
from visits.record import VERSION, Delta, Span, Tally
from visits.state import Parameters

SMALL = Parameters(pages_max=3, ids_max=8)


def counted(log: list[LogRecord]) -> DictStore:
    store = DictStore(SMALL)
    store.run(log, [])
    return store


def closed(store: DictStore, site: str, zone: ZoneInfo = ZONE) -> tuple[Books, list[Check]]:
    """Close a site's books with those of its pages."""
    tables = {name: table.get(site, {}) for name, table in store.tables.items()}
    ledger = [msgspec.json.decode(raw, type=LedgerEntry) for raw in tables["ledger"].values()]
    books = close_books(tables["counters"], tables["books"], ledger, zone, 60)
    expected = pages_expected(tables["books"], ledger)
    by_day = {
        (date(1970, 1, 1) + timedelta(days=day)).isoformat(): sum(pages.values())
        for day, pages in tables["page_days"].items()
    }
    return books, [
        *books.checks,
        pages_check(sum(tables["pages"].values()), (expected, expected)),
        page_days_check(by_day, tables["books"], tables["books"]),
    ]


def differing(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if check.difference}


@settings(max_examples=300, deadline=None)
@given(logs())
def test_the_balance_closes_after_any_log(log: list[LogRecord]) -> None:
    """Repeats, late events, corrections, refused corrections, pages forgotten, garbage: every difference is 0."""
    store = counted(log)
    for site in ("a", "b"):
        books, checks = closed(store, site)
        assert not differing(checks)
        assert all(day.difference == 0 for day in books.days)
        for total in books.totals.values():
            assert total.carried_over + total.counted + total.corrected == total.total


@settings(max_examples=300, deadline=None)
@given(logs(), st.data())
def test_no_number_can_be_changed_unseen(log: list[LogRecord], data: st.DataObject) -> None:
    """Whichever single number of a site is changed, at least one check differs."""
    store = counted(log)
    places: list[tuple[dict[Any, int], Any]] = [
        (table, key)
        for name in ("counters", "pages", "books")
        for table in store.tables[name].values()
        for key in table
    ]
    places += [
        (table, key)
        for by_day in store.tables["page_days"].values()
        for table in by_day.values()
        for key in table
    ]
    if not places:
        return
    table, key = data.draw(st.sampled_from(places), label="place")
    table[key] += data.draw(st.sampled_from([-3, -1, 1, 10**6]), label="change")
    assert any(differing(closed(store, site)[1]) for site in ("a", "b"))


def a_site() -> DictStore:
    """Return a site with an opening balance, a correction, views of two days, a repeat and refusals."""
    hour = NOON // HOUR_MS * HOUR_MS
    common: dict[str, Any] = {"v": VERSION, "site": "a", "at": NOON, "received": NOON}
    day = "2026-11-24"
    return counted(
        as_log(
            [
                Delta(
                    id="opening-1",
                    metric=Metric.VIEWS,
                    spans=(Span(1000), Span(100, hour - 48 * HOUR_MS, hour)),
                    pages={"/": 40},
                    evidence="a screenshot",
                    **common,
                ),
                Delta(id="adjust-1", metric=Metric.VIEWS, spans=(Span(-7),), **common),
                view(NOON - DAY_MS, id="event-1", received=NOON),
                view(NOON, id="event-2"),
                view(NOON + 1, id="event-2"),
                Tally(id="tally-1", day=day, refused={"bot": 5}, **common),
            ]
        )
    )


def test_a_total_is_told_by_where_it_came_from() -> None:
    """Carried over + counted + corrected = total, and received = counted + repeats + refused, by local day."""
    books, checks = closed(a_site(), "a")
    assert not differing(checks)
    views = books.totals[Metric.VIEWS]
    assert (views.carried_over, views.counted, views.corrected, views.total) == (1100, 2, -7, 1095)
    today = books.days[-1]
    assert (today.day, today.counted, today.duplicate) == ("2026-11-24", 1, 1)
    assert (today.refused, today.views - today.ledger, today.difference) == ({"bot": 5}, 1, 0)
    assert books.names == {"counted": 2, "duplicate": 1, "bot": 5}


def test_a_planted_difference_is_named() -> None:
    """The check, the place and both sides."""
    store = a_site()
    bucket = f"vb{NOON // HOUR_MS}"
    store.tables["counters"]["a"][bucket] += 3
    _, checks = closed(store, "a")
    assert differing(checks) == {"buckets_views", "utc_days_views", "local_days"}
    local = next(check for check in checks if check.name == "local_days")
    assert local.places == (("2026-11-24", 4, 1),)


def test_two_mistakes_do_not_cancel() -> None:
    """A view moved from one hour to one of another day leaves every sum as it was, and shows."""
    store = a_site()
    counters = store.tables["counters"]["a"]
    counters[f"vb{NOON // HOUR_MS}"] += 1
    counters[f"vb{NOON // HOUR_MS - 24}"] -= 1
    _, checks = closed(store, "a")
    local = next(check for check in checks if check.name == "local_days")
    assert (local.left, local.right, local.difference) == (2, 2, 2)


def test_a_missing_ledger_entry_shows() -> None:
    """What the ledger does not know was not carried over."""
    store = a_site()
    del store.tables["ledger"]["a"]["opening-1"]
    assert differing(closed(store, "a")[1]) >= {"total_views", "local_days", "pages"}


def test_an_entry_that_says_another_amount_shows() -> None:
    """`n` is the sum of the spans."""
    store = a_site()
    entry = msgspec.json.decode(store.tables["ledger"]["a"]["adjust-1"])
    store.tables["ledger"]["a"]["adjust-1"] = msgspec.json.encode(entry | {"n": -8})
    assert differing(closed(store, "a")[1]) == {"ledger"}


def test_a_counter_without_a_meaning_shows() -> None:
    """Nothing in the site's table is passed over."""
    for field in ("x", "vz1", "vb-1", "vbx", "vd"):
        store = a_site()
        store.tables["counters"]["a"][field] = 0
        assert differing(closed(store, "a")[1]) == {"fields"}, field


def test_books_of_another_zone_do_not_close() -> None:
    """Local days are the site's: the books of Hanoi are not those of Honolulu."""
    assert "local_days" in differing(closed(a_site(), "a", ZoneInfo("Pacific/Honolulu"))[1])


def test_what_is_counted_while_pages_are_read_is_no_difference() -> None:
    """The pages are compared with the books before and after them."""
    assert [between(n, (5, 8)) for n in (4, 6, 9)] == [5, 6, 8]
    assert pages_check(6, (5, 8)).difference == 0
    assert pages_check(9, (5, 8)).difference == 1


def test_what_carries_over_only_adds_and_has_evidence() -> None:
    """All else corrects."""
    entry = LedgerEntry(
        id="one", position=0, at=0, outcome="applied", metric="views", n=1, spans=((1, None, None),)
    )
    assert not is_carried_over(entry)
    assert is_carried_over(msgspec.structs.replace(entry, evidence="a report"))
    taken = msgspec.structs.replace(entry, evidence="a report", spans=((-1, None, None),))
    assert not is_carried_over(taken)
