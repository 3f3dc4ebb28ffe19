"""The report of a month: whole local days, beside the month before, and only what is still known."""

from __future__ import annotations

from datetime import date, timedelta

from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import ZONE
from tests.unit.services.api.test_ledger import delta
from tests.unit.services.api.test_site_page import page_of, some
from visits.counters import HOUR_MS
from visits.record import Span, Tally
from visits.window import day_start, local_day

PATH = "/sites/demo"
NOW = now_ms()
TODAY = local_day(NOW, ZONE)
FIRST = TODAY.replace(day=1)
BEFORE = (FIRST - timedelta(days=1)).replace(day=1)


def at(day: date) -> int:
    """Return a moment after a local day has begun."""
    return day_start(day, ZONE) + 1


async def count_two_months(api: Api) -> None:
    """Count views two months back, on the last day of the month before, the first of this one and today, with a robot a day."""
    last = FIRST - timedelta(days=1)
    await api.count(
        *some("/older", 5, at(BEFORE - timedelta(days=1))),
        *some("/last", 8, at(last)),
        *[
            Tally(v=1, site="demo", id=f"tally-{day}", at=at(day), received=at(day), day=day.isoformat(),
                  refused={"bot": 3})
            for day in (last, FIRST)
        ],
        *some("/first", 6, at(FIRST)),
        *some("/first", 4, NOW),
    )  # fmt: skip


async def test_a_month_is_its_local_days(api: Api) -> None:
    """All days up to today, the sums of the month and of the one before, and the change between them once it is over."""
    await count_two_months(api)
    page = await page_of(api, f"month={FIRST:%Y-%m}")
    assert page.all("h1")[0].words == f"Báo cáo truy cập tháng {FIRST.month}/{FIRST.year}"
    days = page.rows("Từng ngày")
    assert [day[0] for day in days] == [
        f"{FIRST + timedelta(days=n):%d/%m/%Y}" for n in range(TODAY.day)
    ]
    assert sum(int(day[2]) for day in days) == 10
    sums = {row[0]: row[1:] for row in page.rows("Cả tháng")}
    assert sums["Lượt xem"] == ["10", "8", "–"]
    assert "Tháng này chưa kết thúc" in page.all("header")[0].words
    text = page.all("main")[0].words
    assert "Robot và lượt lặp không được tính: 3; robot: 3." in text
    before = await page_of(api, f"month={BEFORE:%Y-%m}&lang=en")
    assert ["Views", "8", "5", "+60.0%"] in before.rows("The month in all")
    assert len(before.rows("The month day by day")) == (FIRST - BEFORE).days


async def test_pages_are_ranked_as_far_as_they_are_kept(api: Api) -> None:
    """Views by page and day are kept 35 days: an older part of a month is said to be missing, not told as nothing."""
    await count_two_months(api)
    page = await page_of(api, f"month={FIRST:%Y-%m}")
    assert page.rows("Lượt xem theo trang trong tháng") == [["1", "/first", "10"]]
    old = (FIRST - timedelta(days=100)).replace(day=1)
    gone = (await page_of(api, f"month={old:%Y-%m}")).all("main")[0].words
    assert "được giữ 35 ngày: của tháng này không còn" in gone
    kept_from = TODAY - timedelta(days=34)
    month = await page_of(api, f"month={kept_from:%Y-%m}")
    told = f"bảng này tính từ {kept_from:%d/%m/%Y}" in month.all("main")[0].words
    assert told == (kept_from.day > 1)


async def test_corrections_that_concern_the_month_stand_in_it(api: Api) -> None:
    """Those that change its numbers, whenever they were made, and those made in it; no others."""
    day = BEFORE + timedelta(days=3)
    start = day_start(day, ZONE)
    await api.count(
        delta("inside-1", spans=(Span(5, start, start + HOUR_MS),), why="of the month before", at=NOW, received=NOW),
        delta("older-1", spans=(Span(5, start - 400 * 24 * HOUR_MS, start - 399 * 24 * HOUR_MS),),
              why="long ago", at=start - 200 * 24 * HOUR_MS, received=NOW),
    )  # fmt: skip
    caption = "Các lần chuyển số và hiệu chỉnh"
    assert [row[3] for row in (await page_of(api, f"month={BEFORE:%Y-%m}")).rows(caption)] == [
        "of the month before"
    ]
    assert len((await page_of(api, f"month={FIRST:%Y-%m}")).rows(caption)) == 1
    other = (await page_of(api, "month=2020-01")).all("main")[0].words
    assert "Không có lần hiệu chỉnh nào liên quan đến tháng này." in other


async def test_what_is_no_month_is_refused(api: Api) -> None:
    """A month that is none, or has not begun, is a bad request."""
    await count_two_months(api)
    following = (FIRST + timedelta(days=32)).replace(day=1)
    for text in ("2026-13", "2026-1", "November", "0001-01", f"{following:%Y-%m}", "%3Cb%3E"):
        answer = await api.get(PATH, f"month={text}")
        assert (answer.status, answer.json["reason"]) == (400, "malformed"), text
