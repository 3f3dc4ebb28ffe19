"""The route of the balance: it closes, says what it compared, and a number changed in the store shows."""

from __future__ import annotations

import csv

import pytest

from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import day_of, view
from tests.unit.services.api.test_ledger import delta
from visits.counters import HOUR_MS, Metric
from visits.errors import StoreUnavailableError
from visits.record import VERSION, Span, Tally

PATH = "/v1/sites/demo/balance"
DAY_MS = 86_400_000


async def count_all(api: Api) -> None:
    """Count an opening balance, views of two days, a repeat, and refusals."""
    now = now_ms()
    hour = now // HOUR_MS * HOUR_MS
    await api.count(
        delta(
            "opening-1", metric=Metric.VIEWS, at=now, received=now, evidence="a report",
            spans=(Span(500), Span(48, hour - 48 * HOUR_MS, hour)), pages={"/a": 12},
        ),
        view(now - DAY_MS, id="event-1", site="demo", page="/a", received=now),
        view(now, id="event-2", site="demo", page="/a"),
        view(now, id="event-2", site="demo", page="/a"),
        Tally(
            v=VERSION, site="demo", id="tally-001", at=now, received=now, day=day_of(now), refused={"bot": 4, "own": 1},
        ),
    )  # fmt: skip


async def test_the_balance_closes(api: Api) -> None:
    """Received = counted + repeats + refused; carried over + counted + corrected = total; every difference is 0."""
    await count_all(api)
    body = (await api.get(PATH)).json
    assert (body["closes"], body["difference"]) == (True, 0)
    assert (body["received"], body["counted"], body["duplicate"]) == (8, 2, 1)
    assert body["refused"] == {"bot": 4, "own": 1}
    assert body["totals"]["views"] == {
        "carried_over": 548, "counted": 2, "corrected": 0, "total": 550,
    }  # fmt: skip
    assert {check["name"] for check in body["checks"]} >= {
        "total_views", "local_days", "pages", "page_days", "buckets_visits", "utc_days_visitors",
    }  # fmt: skip
    today = body["days"][-1]
    assert (today["received"], today["counted"], today["difference"]) == (7, 1, 0)
    assert "refusals" in body["may_miss"]


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE counter SET amount = amount + 1 WHERE field = 'v'", "total_views"),
        ("UPDATE counter SET amount = amount + 1 WHERE field = 's'", "buckets_visits"),
        ("UPDATE counter SET amount = amount + 1 WHERE field LIKE 'pd%'", "utc_days_visitors"),
        ("UPDATE counter SET amount = amount - 1 WHERE field LIKE 'vb%'", "local_days"),
        ("UPDATE book SET amount = amount + 1 WHERE name LIKE '%:duplicate'", "books"),
        ("UPDATE page SET views = views + 1", "pages"),
        ("UPDATE page_day SET views = views + 1", "page_days"),
        ("DELETE FROM ledger", "total_views"),
    ],
)
async def test_a_number_changed_by_hand_is_named(api: Api, statement: str, check: str) -> None:
    """Whatever table it stands in, the balance does not close, and the check says where."""
    await count_all(api)
    await api.store._file.write(
        lambda connection: connection.execute(statement), StoreUnavailableError
    )
    body = (await api.get(PATH)).json
    assert body["closes"] is False
    found = next(line for line in body["checks"] if line["name"] == check)
    assert found["difference"] > 0
    assert found["places"]
    assert body["difference"] >= found["difference"]


async def test_days_that_differ_are_listed_however_old(api: Api) -> None:
    """`days` cuts the list of those that close."""
    await count_all(api)
    assert len((await api.get(PATH, "days=1")).json["days"]) == 1
    api.part._balance._lane._kept.clear()
    statement = "UPDATE book SET amount = 7 WHERE name LIKE ? AND name LIKE '%:counted'"
    yesterday = day_of(now_ms() - DAY_MS)
    await api.store._file.write(
        lambda connection: connection.execute(statement, (f"{yesterday}:%",)), StoreUnavailableError
    )
    days = (await api.get(PATH, "days=0")).json["days"]
    assert [(day["day"], day["difference"]) for day in days] == [(yesterday, -6)]


async def test_the_table_lists_the_days(api: Api) -> None:
    """One row a local day."""
    await count_all(api)
    text = (await api.get(PATH, "format=csv")).body.decode("utf-8-sig")
    row = list(csv.DictReader(text.splitlines()))[-1]
    assert (row["received"], row["refused"], row["difference"]) == ("7", "5", "0")


async def test_nothing_counted_has_no_balance(api: Api) -> None:
    """503 before the first count; a site without anything closes with zeros."""
    assert (await api.get(PATH)).json["reason"] == "starting"
    await api.count(view(site="else"))
    body = (await api.get(PATH)).json
    assert (body["closes"], body["received"], body["days"]) == (True, 0, [])
    assert (await api.get(PATH, "days=-1")).status == 400
