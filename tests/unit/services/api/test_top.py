"""The route of the most viewed pages: whole local days, `(other)` apart, and no formula in a table."""

from __future__ import annotations

import csv

from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import day_of, view
from visits.record import View

PATH = "/v1/sites/demo/pages/top"
DAY_MS = 86_400_000


def views(page: str, n: int, at: int) -> list[View]:
    """Return `n` views of a page at a moment."""
    return [
        view(at, id=f"{abs(hash((page, at)))}-{k}", site="demo", page=page, day=day_of(at))
        for k in range(n)
    ]


async def count_pages(api: Api) -> None:
    """Count pages of today and of some days back."""
    now = now_ms()
    await api.count(
        *views("/old", 9, now - 34 * DAY_MS),
        *views("/month", 7, now - 29 * DAY_MS),
        *views("/week", 5, now - 6 * DAY_MS),
        *views("/b", 2, now),
        *views("/a", 2, now),
        *views("(other)", 30, now),
    )


async def test_windows_are_whole_local_days(api: Api) -> None:
    """Today, today with six or 29 days before it, or all; ranked by views, then by name."""
    await count_pages(api)
    expected = {
        "today": ["/a", "/b"],
        "7d": ["/week", "/a", "/b"],
        "30d": ["/month", "/week", "/a", "/b"],
        "total": ["/old", "/month", "/week", "/a", "/b"],
    }
    for window, pages in expected.items():
        body = (await api.get(PATH, f"window={window}")).json
        assert [line["page"] for line in body["pages"]] == pages, window
        assert (body["other"], body["page_count"]) == (30, len(pages))
        assert body["views"] == 30 + sum(line["views"] for line in body["pages"])
    body = (await api.get(PATH)).json
    assert body["window"] == "30d"
    assert body["from"].endswith("T00:00:00+07:00")


async def test_a_limit_cuts_the_list_not_the_sums(api: Api) -> None:
    """`views` and `page_count` are of all pages."""
    await count_pages(api)
    body = (await api.get(PATH, "window=total&limit=1")).json
    assert body["pages"] == [{"page": "/old", "views": 9}]
    assert (body["views"], body["page_count"]) == (55, 5)
    for limit in ("0", "1001", "x"):
        assert (await api.get(PATH, f"limit={limit}")).status == 400


async def test_the_table_has_other_last_and_without_rank(api: Api) -> None:
    """CSV with names as they are: a page begins with a stroke, so no spreadsheet calculates it."""
    await count_pages(api)
    await api.count(*views("/=cmd|' /C calc'!A0,\"x\"", 1, now_ms()))
    answer = await api.get(PATH, "window=today&format=csv")
    rows = list(csv.reader(answer.body.decode("utf-8-sig").splitlines()))
    assert rows == [
        ["rank", "page", "views"],
        ["1", "/a", "2"],
        ["2", "/b", "2"],
        ["3", "/=cmd|' /C calc'!A0,\"x\"", "1"],
        ["", "(other)", "30"],
    ]
    assert 'filename="demo-pages-today.csv"' in answer.headers["content-disposition"]


async def test_new_views_change_the_ranking(api: Api) -> None:
    """A ranking is drawn up anew after a second at the latest for a small site."""
    await count_pages(api)
    before = await api.get(PATH, "window=today")
    await api.count(*views("/b", 1, now_ms() + 1))
    api.part._top._lane._kept.clear()
    after = await api.get(PATH, "window=today", if_none_match=before.headers["etag"])
    assert after.status == 200
    assert [line["page"] for line in after.json["pages"]] == ["/b", "/a"]


async def test_a_page_without_views_is_not_listed(api: Api) -> None:
    """Nothing counted is 503; a site without views has an empty list."""
    assert (await api.get(PATH)).status == 503
    await api.count(view(site="else"))
    body = (await api.get(PATH, "window=total")).json
    assert (body["pages"], body["other"], body["views"]) == ([], 0, 0)
