"""The route of the ledger: every field of every entry, and hostile texts stay texts."""

from __future__ import annotations

import csv
from typing import Any

import msgspec
import pytest

from services.api.table import as_csv
from tests.support.api import Api
from tests.support.logs import NOON
from visits.counters import HOUR_MS, Metric
from visits.delta import LedgerEntry
from visits.record import VERSION, Delta, Span

PATH = "/v1/sites/demo/ledger"
HOSTILE = [
    '=HYPERLINK("http://evil.example","x")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "  =1+1",
    "\t=1+1",
    "\r=1",
    "\uff1d1+1",
    'a,b"c\nd',
    "<script>alert(1)</script>",
]


def delta(name: str, **values: Any) -> Delta:
    given: dict[str, Any] = {
        "v": VERSION,
        "site": "demo",
        "id": name,
        "at": NOON,
        "received": NOON,
        "metric": Metric.VISITS,
        "why": "test",
    }
    return Delta(**(given | values))


async def count_three(api: Api) -> None:
    """Count an opening balance, a correction that is refused, and pages forgotten."""
    hour = NOON // HOUR_MS * HOUR_MS
    await api.count(
        delta(
            "opening-1",
            spans=(Span(100), Span(10, hour - 3 * HOUR_MS, hour)),
            pages={"/a": 4, "/b": 2},
            evidence="a screenshot",
            estimated=True,
        ),
        delta("too-much-1", spans=(Span(-1000),)),
        delta("forget-1", forget="/a", who="somebody"),
    )


async def test_every_field_is_told_and_moments_are_iso(api: Api) -> None:
    """In log order, refused ones with their reason; a span before every bucket has no ends."""
    await count_three(api)
    opening, refused, forgotten = (await api.get(PATH)).json["entries"]
    names = set(LedgerEntry.__struct_fields__) - {"start", "end"} | {"from", "to", "spans_count"}
    assert opening.keys() == names
    assert (opening["id"], opening["position"], opening["n"]) == ("opening-1", 0, 110)
    assert (opening["pages"], opening["pages_n"], opening["estimated"]) == (2, 6, True)
    assert opening["at"] == "2026-11-24T12:00:00+07:00"
    assert opening["spans"] == [
        {"from": None, "to": None, "n": 100},
        {"from": "2026-11-24T09:00:00+07:00", "to": "2026-11-24T12:00:00+07:00", "n": 10},
    ]
    assert (refused["outcome"], forgotten["forgotten"]) == ("refused", 1)
    assert "negative" in refused["reason"]


async def test_the_table_says_the_same(api: Api) -> None:
    """One row an entry, empty where there is nothing."""
    await count_three(api)
    rows = list(
        csv.DictReader((await api.get(PATH, "format=csv")).body.decode("utf-8-sig").splitlines())
    )
    assert [row["id"] for row in rows] == ["opening-1", "too-much-1", "forget-1"]
    assert (rows[0]["from"], rows[0]["spans_count"], rows[0]["estimated"]) == ("", "2", "true")


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_stay_texts(api: Api, text: str) -> None:
    """What a spreadsheet would calculate stands behind an apostrophe; JSON tells it as it is, as no HTML."""
    await api.count(delta("hostile-1", spans=(Span(1),), who=text, why=text, evidence=text))
    answer = await api.get(PATH)
    assert answer.json["entries"][0]["why"] == text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    table = (await api.get(PATH, "format=csv")).body.decode("utf-8-sig")
    (row,) = csv.DictReader(table.splitlines(keepends=True))
    cell = row["why"]
    assert cell in {text, f"'{text}"}
    assert not cell.strip().startswith(("=", "+", "-", "@", "\uff1d"))


def test_a_table_keeps_numbers_and_quotes_texts() -> None:
    """Negative numbers are no formulas, and RFC 4180 holds."""
    table = as_csv(("a", "b"), [(-5, 'say "hi", now'), (None, "-5"), (True, "x")])
    assert table.decode("utf-8-sig") == 'a,b\r\n-5,"say ""hi"", now"\r\n,\'-5\r\ntrue,x\r\n'


async def test_an_empty_ledger_is_told(api: Api) -> None:
    """A site without corrections has an empty list, and an unknown site none."""
    await count_three(api)
    assert (await api.get("/v1/sites/nobody/ledger")).status == 404
    entries = msgspec.json.decode((await api.get(PATH, "unknown=x")).body)["entries"]
    assert len(entries) == 3
