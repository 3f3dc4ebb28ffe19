"""The route of the past: its periods add up to the counters, late numbers are cut, and tables open in a spreadsheet."""

from __future__ import annotations

import csv
import itertools
from typing import Any

import msgspec
import pytest

from services.api.reading import STALE_MS
from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import view

PATH = "/v1/sites/demo/history"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


async def count_some(api: Api, now: int) -> None:
    """Count a view now, and 1, 8, 40 and 400 days ago."""
    await api.count(
        *(
            view(now - age * DAY_MS, id=f"event-{age:03d}", site="demo", visitor=f"{age:016x}")
            for age in (400, 40, 8, 1, 0)
        )
    )


def sums(body: dict[str, Any]) -> int:
    return sum(point["n"] for point in body["points"])


async def test_periods_add_up_to_the_counters(api: Api) -> None:
    """Asked for a window's range, every interval gives the window's number."""
    await count_some(api, now_ms())
    numbers = (await api.get("/v1/sites/demo/counters", "metric=views")).json
    for name in ("week", "month", "year"):
        start = numbers["periods"][name]["from"].replace("+", "%2B")
        for interval in ("hour", "day", "week", "month", "year"):
            answer = await api.get(PATH, f"metric=views&interval={interval}&from={start}")
            if (name, interval) == ("year", "hour"):
                assert answer.status == 400
                continue
            assert sums(answer.json) == numbers[name], (name, interval)


async def test_points_lie_side_by_side_up_to_now(api: Api) -> None:
    """Half-open periods of local days, the last one up to the moment; absent ones are 0."""
    await count_some(api, now_ms())
    body = (await api.get(PATH, "interval=day")).json
    points = body["points"]
    assert len(points) == 30
    assert all(one["to"] == two["from"] for one, two in itertools.pairwise(points))
    assert (points[0]["from"], points[-1]["to"]) == (body["from"], body["to"])
    assert all(point["from"].endswith("T00:00:00+07:00") for point in points)
    assert [point["n"] for point in points[-2:]] == [1, 1]
    assert (body["metric"], body["interval"], body["stale"]) == ("visits", "day", False)


async def test_a_date_is_a_whole_local_day(api: Api) -> None:
    """`from` begins with its date and `to` ends with it; a moment is exact; a blank stands for an unescaped plus."""
    await count_some(api, now_ms())
    body = (await api.get(PATH, "from=2020-11-01&to=2020-11-02")).json
    assert (body["from"], body["to"]) == ("2020-11-01T00:00:00+07:00", "2020-11-03T00:00:00+07:00")
    assert len(body["points"]) == 2
    body = (
        await api.get(PATH, "interval=hour&from=2020-11-01T08:00+09:00&to=2020-11-01T08:00")
    ).json
    assert (body["from"], body["to"]) == ("2020-11-01T06:00:00+07:00", "2020-11-01T08:00:00+07:00")


async def test_late_numbers_are_cut_where_they_end(api: Api) -> None:
    """What is not known yet is left out, it does not read as 0."""
    late = now_ms() - 3 * DAY_MS
    await api.count(view(late, id="event-late", site="demo"), at=late)
    assert now_ms() - late > STALE_MS
    body = (await api.get(PATH)).json
    assert (body["stale"], body["to"]) == (True, body["as_of"])
    assert body["points"][-1]["n"] == 1
    beyond = (await api.get(PATH, f"from={body['as_of'].replace('+', '%2B')}")).json
    assert beyond["points"] == []


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2020-13-01",
        "to=1969-12-31",
        "from=9999-12-31&to=9999-12-31",
        "from=2020-11-02&to=2020-11-01",
        "from=2000-01-01&interval=hour",
        "interval=fortnight",
        "metric=likes",
        "format=xml",
        "from=2020-11-01T00:00:00%2B99:00",
        "from=%00",
    ],
)
async def test_what_cannot_be_told_is_refused(api: Api, query: str) -> None:
    """A problem names it."""
    await count_some(api, now_ms())
    answer = await api.get(PATH, query)
    assert (answer.status, answer.json["reason"]) == (400, "malformed")


async def test_csv_by_format_or_accept(api: Api) -> None:
    """With a byte order mark, dates for whole days, moments for hours."""
    await count_some(api, now_ms())
    answer = await api.get(PATH, "from=2020-11-01&to=2020-11-30&interval=month&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.body.startswith(b"\xef\xbb\xbffrom,to,visits\r\n2020-11-01,")
    by_accept = await api.get(PATH, "from=2020-11-01&interval=month", accept="text/csv")
    assert by_accept.body.startswith(b"\xef\xbb\xbf")
    assert by_accept.headers["vary"] == "Accept"
    told = await api.get(PATH, "format=json", accept="text/csv")
    assert msgspec.json.decode(told.body)["site"] == "demo"
    hours = (await api.get(PATH, "interval=hour&format=csv")).body.decode("utf-8-sig")
    rows = list(csv.reader(hours.splitlines()))
    assert rows[-1][0].endswith(":00:00+07:00")
    assert sum(int(row[2]) for row in rows[1:]) == 2


async def test_the_tag_follows_the_numbers(api: Api) -> None:
    """304 for who has them; JSON and CSV have tags of their own; a new view changes both."""
    await count_some(api, now_ms())
    tags = [(await api.get(PATH, f"format={form}")).headers["etag"] for form in ("json", "csv")]
    assert tags[0] != tags[1]
    assert (await api.get(PATH, "format=json", if_none_match=tags[0])).status == 304
    assert (await api.get(PATH, "format=json", if_none_match=tags[1])).status == 200
    assert (await api.get(PATH, method="HEAD")).headers["etag"] == tags[0]


async def test_nothing_counted_is_503_never_0(api: Api) -> None:
    """Without a head there is no past to tell."""
    answer = await api.get(PATH)
    assert (answer.status, answer.json["reason"]) == (503, "starting")
    assert (await api.get("/v1/sites/nobody/history")).status == 404
