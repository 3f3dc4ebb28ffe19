"""The route of the balance: it closes, says what it compared, and a number changed in the store shows."""

from __future__ import annotations

import csv
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

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


def meanwhile(api: Api, name: str, happens: Callable[[], Awaitable[None]]) -> None:
    """Let something happen before and after a table is scanned."""
    scan = getattr(api.store, name)

    async def interrupted(*asked: Any) -> AsyncIterator[dict[str, int]]:
        await happens()
        async for some in scan(*asked):
            yield some
        await happens()

    setattr(api.store, name, interrupted)


@pytest.mark.parametrize("name", ["scan_counters", "scan_pages"])
async def test_what_is_counted_while_it_is_read_is_no_difference(api: Api, name: str) -> None:
    """Views, late ones, repeats and refusals may come at any moment."""
    await count_all(api)
    numbers = itertools.count()

    async def count_more() -> None:
        now, n = now_ms(), next(numbers)
        await api.count(
            view(now, id=f"more-{n:04d}", site="demo", page=f"/new-{n}", visitor=f"{n:016x}"),
            view(now - DAY_MS + HOUR_MS, id=f"late-{n:04d}", site="demo", received=now),
            view(now, id="event-2", site="demo"),
        )

    meanwhile(api, name, count_more)
    body = (await api.get(PATH)).json
    assert next(numbers) > 1
    assert not [check for check in body["checks"] if check["difference"]]
    assert body["closes"] is True


async def test_a_correction_counted_meanwhile_begins_it_anew(api: Api) -> None:
    """Corrections change old counters: the books are read again, a few times at most."""
    await count_all(api)
    numbers = itertools.count()

    async def correct_once() -> None:
        if (n := next(numbers)) == 0:
            await api.count(delta(f"adjust-{n:03d}", metric=Metric.VIEWS, spans=(Span(3),)))

    meanwhile(api, "scan_counters", correct_once)
    body = (await api.get(PATH)).json
    assert (body["closes"], body["totals"]["views"]["corrected"]) == (True, 3)

    async def correct() -> None:
        await api.count(delta(f"again-{next(numbers):03d}", metric=Metric.VIEWS, spans=(Span(3),)))

    meanwhile(api, "scan_counters", correct)
    api.part._balance._lane._kept.clear()
    assert (await api.get(PATH)).status == 503
