"""The statistics page: tables that need no script, the numbers of the other routes, and nothing that its policy refuses."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import widget
from services.api.balance import Balance, BalanceRoutes
from services.api.lane import Lane
from services.api.page_words import COUNTERS, DATA, METRICS, OUTCOMES, WORDS
from services.runtime.clock import now_ms
from services.runtime.site import Site
from tests.support.api import Api
from tests.support.logs import day_of, view
from tests.support.page_html import Html, check_page, check_policy
from tests.unit.services.api.test_ledger import delta
from visits.counters import HOUR_MS, Metric
from visits.errors import StoreUnavailableError
from visits.record import Span, Tally

PATH = "/sites/demo"
CAPTIONS = [
    "Các bộ đếm của cổng",
    "Lượt truy cập theo giờ, 48 giờ gần nhất",
    "Lượt truy cập theo ngày, 30 ngày gần nhất",
    "Lượt truy cập theo tháng, 12 tháng gần nhất",
    "Lượt xem theo trang, 30 ngày gần nhất",
    "Các yêu cầu đã nhận và kết quả",
    "Tổng số gồm những gì",
    "Các lần chuyển số và hiệu chỉnh, mới nhất trước",
]


def some(page: str, n: int, at: int) -> list[Any]:
    """Return `n` views of a page by one reader each."""
    return [
        view(at, id=f"{page}-{k:05d}-{at}"[:60].replace("/", "_"), site="demo", page=page,
             day=day_of(at), visitor=f"{k:016x}")
        for k in range(n)
    ]  # fmt: skip


@pytest.fixture
async def counted(api: Api) -> Api:
    """An api with views of three pages, repeats, robots, and a carried over total."""
    now = now_ms()
    await api.count(
        delta("opening-1", spans=(Span(1_000_000),), evidence="a screenshot", at=now, received=now),
        *some("/a", 7, now),
        *some("/b", 5, now),
        *some("/rare", 4, now),
        *some("/a", 2, now),  # repeats
        Tally(
            v=1, site="demo", id="tally-0001", at=now, received=now, day=day_of(now),
            refused={"bot": 11, "ping": 100},
        ),
    )  # fmt: skip
    return api


async def page_of(api: Api, query: str = "", path: str = PATH) -> Html:
    answer = await api.get(path, query)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = Html(answer.body)
    check_page(page)
    check_policy(page, answer.headers["content-security-policy"])
    return page


async def test_all_numbers_stand_in_tables(counted: Api) -> None:
    """Every table is there without a script, with the numbers that the other routes tell."""
    page = await page_of(counted)
    assert [caption.words for caption in page.all("caption")] == CAPTIONS
    counters = {row[0]: row[1:4] for row in page.rows(CAPTIONS[0])}
    assert counters["Hôm nay"] == ["7", "16", "7"]
    assert counters["Tổng số"] == ["1.000.007", "16", "7"]
    for caption, length in zip(CAPTIONS[1:4], (48, 30, 12), strict=True):
        numbers = page.column(caption, 1)
        assert length <= len(numbers) <= length + 1
        assert sum(int(n) for n in numbers) == 7, caption
    english = await page_of(counted, "lang=en&metric=views")
    assert english.all("html")[0].attributes["lang"] == "en"
    assert english.column("Views by day", 1)[-1] == "16"
    assert english.rows("The site's counters")[-1][1:4] == ["1,000,007", "16", "7"]


async def test_pages_that_few_have_read_are_not_listed(counted: Api) -> None:
    """Below five views a page could tell of its one reader."""
    page = await page_of(counted)
    assert page.rows("Lượt xem theo trang") == [["1", "/a", "7"], ["2", "/b", "5"]]
    assert "/rare" not in page.all("body")[0].words


async def test_the_books_are_told(counted: Api) -> None:
    """What was not counted, that the books close, what the total is made of, and every correction."""
    page = await page_of(counted)
    text = page.all("main")[0].words
    assert "Robot và lượt lặp không được tính: 13" in text
    assert "Sổ sách khớp" in text
    outcomes = dict(page.rows("Các yêu cầu"))
    assert outcomes["Đã nhận"] == str(16 + 2 + 11 + 100)
    assert outcomes["Đã đếm là lượt xem"] == "16"
    assert ["Lượt truy cập", "1.000.000", "7", "0", "1.000.007"] in page.rows("Tổng số gồm")
    [line] = page.rows("Các lần chuyển số")
    assert line[1:] == ["Lượt truy cập: 1.000.000", "", "test", "a screenshot", "đã ghi"]


async def test_what_was_entered_at_once_is_one_line(api: Api) -> None:
    """An import enters three numbers a day: told by metric, with their sum; what stands alone stays alone."""
    now = now_ms()
    start = now // HOUR_MS * HOUR_MS - 100 * HOUR_MS
    await api.count(
        *[
            delta(f"import-{n}-{metric}", metric=metric, at=start, received=now, why="import", evidence=f"day {n}",
                  spans=(Span(10 + n, start + n * HOUR_MS, start + (n + 1) * HOUR_MS),))
            for n in range(3)
            for metric in Metric
        ],
        delta("later-1", spans=(Span(1),), at=now, received=now, why="later"),
    )  # fmt: skip
    rows = (await page_of(api)).rows("Các lần chuyển số")
    assert [row[3] for row in rows] == ["later", "import", "import", "import"]
    assert {row[1] for row in rows[1:]} == {
        f"{name}: 33 (3 mục; bằng chứng của mục mới nhất)" for name in METRICS["vi"].values()
    }
    assert rows[1][4] == "day 2"


async def test_the_record_day_is_a_day_that_was_counted(api: Api) -> None:
    """An estimate laid evenly over days makes no record; what an import knows of a day does."""
    now = now_ms()
    hour = now // HOUR_MS * HOUR_MS
    guess = delta(
        "guess-1", metric=Metric.VIEWS, spans=(Span(2_400, hour - 96 * HOUR_MS, hour - 48 * HOUR_MS),),
        evidence="x", estimated=True, at=now, received=now,
    )  # fmt: skip
    await api.count(guess, *some("/a", 6, now))
    assert ": 6 lượt xem" in await record(api)
    known = delta(
        "known-1", metric=Metric.VIEWS, spans=(Span(70, hour - 24 * 20 * HOUR_MS, hour - (24 * 20 - 1) * HOUR_MS),),
        evidence="x", estimated=True, at=now, received=now,
    )  # fmt: skip
    await api.count(known)
    await forget(api)
    assert ": 70 lượt xem" in await record(api)


async def record(api: Api) -> str:
    page = await page_of(api)
    [section] = [e for e in page.all("section") if e.attributes["aria-labelledby"] == "record"]
    return section.words


async def forget(api: Api) -> None:
    """Let nothing be given out again that was drawn up before."""
    part = api.part
    for routes in (part._site, part._history, part._top, part._ledger, part._balance):
        routes._lane._kept.clear()


async def test_every_link_leads_somewhere(counted: Api) -> None:
    """Styles, scripts, data as JSON and CSV, months and languages are answered."""
    page = await page_of(counted)
    links = {e.attributes.get("href", e.attributes.get("src", "")) for e in page.elements}
    assert len([link for link in links if link.startswith("../v1/sites/demo/")]) == 13
    for link in sorted(links - {"", "data:,", "#content"}):
        if "/install" in link:
            continue
        path, _, query = link.partition("?")
        path = path.replace("..", "", 1) if path else PATH
        assert (await counted.get(path, query)).status == 200, link


async def test_what_cannot_be_had_is_said_and_never_a_zero(
    counted: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the books take too long the page comes without them, and says so; once there were some, with the last ones."""
    monkeypatch.setattr("services.api.facts.PIECE_SECONDS", 0.1)
    close = BalanceRoutes._close
    finished = asyncio.Event()

    async def slow(self: BalanceRoutes, site: Site) -> Balance:
        await finished.wait()
        return await close(self, site)

    monkeypatch.setattr(BalanceRoutes, "_close", slow)
    assert await books(counted) == (
        "Sổ sách Số liệu này đang được cộng hoặc chưa đọc được. Hãy xem lại sau ít phút."
    )
    assert (await page_of(counted)).rows("Các bộ đếm")
    finished.set()
    await counted.get("/v1/sites/demo/balance")
    finished.clear()
    expire(counted.part._site._lane)
    expire(counted.part._balance._lane)
    assert "Sổ sách khớp" in await books(counted)


def expire(lane: Lane[Any]) -> None:
    """Let nothing be fresh, but kept."""
    for key, kept in lane._kept.items():
        lane._kept[key] = msgspec.structs.replace(kept, fresh_until=0.0)


async def books(api: Api) -> str:
    page = await page_of(api)
    [section] = [e for e in page.all("section") if e.attributes["aria-labelledby"] == "books"]
    return section.words


async def test_while_the_store_is_away_the_last_numbers_stand_and_are_late(
    counted: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page goes on with the last good answers and says that they are late; a page never drawn before has them too."""
    await page_of(counted)

    async def away(*_: object) -> None:
        raise StoreUnavailableError("away")

    for name in ("read_counters", "read_ledger", "read_account", "head"):
        monkeypatch.setattr(counted.store, name, away)
    await asyncio.sleep(0.06)  # counters are given out again for 50 ms
    for query in ("metric=visits&lang=en", "lang=en&metric=views"):
        page = await page_of(counted, query)
        assert "Late: " in page.all("main")[0].words
        assert page.rows("The site's counters")[-1][1:4] == ["1,000,007", "16", "7"]
    [course] = [e for e in page.all("section") if e.attributes["aria-labelledby"] == "hour"]
    assert course.words.endswith(WORDS["en"]["away"])


async def test_a_page_that_is_known_is_not_sent_again(counted: Api) -> None:
    """The tag follows what is told, not the moment; another language has another one."""
    first = await counted.get(PATH)
    assert first.headers["cache-control"].startswith("public, max-age=5")
    tag = first.headers["etag"]
    await forget(counted)
    again = await counted.get(PATH, if_none_match=tag)
    assert (again.status, again.body) == (304, b"")
    assert (await counted.get(PATH, "lang=en")).headers["etag"] != tag
    now = now_ms()
    await counted.count(*some("/more", 1, now))
    await forget(counted)
    assert (await counted.get(PATH, if_none_match=tag)).status == 200


def test_both_languages_say_the_same_things() -> None:
    """Every word is there twice, with the same figures in it."""
    assert WORDS["vi"].keys() == WORDS["en"].keys()
    for name, text in WORDS["vi"].items():
        places = re.compile(r"\{\w+\}")
        assert sorted(places.findall(text)) == sorted(places.findall(WORDS["en"][name])), name
    for texts in (METRICS, COUNTERS, OUTCOMES):
        assert texts["vi"].keys() == texts["en"].keys()
    assert [path for _, path in DATA["vi"]] == [path for _, path in DATA["en"]]


def test_the_chart_library_is_served_with_its_licence() -> None:
    """Scripts and styles of the pages come from the service; the library's licence stands in the package beside it."""
    assert b"uPlot" in widget.page_script("uplot")[:200]
    folder = Path(widget.__file__).parent / "vendor"
    assert "MIT License" in (folder / "uplot.LICENSE").read_text()
