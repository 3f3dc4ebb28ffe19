"""The widget in a real Chromium, on pages and services of the product (DESIGN 4.5): what it counts and shows."""

from __future__ import annotations

import asyncio
import json
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Route

from tests.support.load import HUMAN
from tests.support.widget_page import PANEL, TEXTS, WAIT_SECONDS, Portal, in_one_loop

pytestmark = in_one_loop


async def test_the_panel_counts_its_reader(portal: Portal) -> None:
    """A view is counted once and the panel's text is the caption and the five lines."""
    await portal.open("/a", f'<visit-counter site="{portal.site}"></visit-counter>')
    lines = (
        "Thống kê truy cập\nĐang online: 1\nLượt xem trong tuần: 1\nLượt xem trong tháng: 1\n"
        "Lượt xem trong năm: 1\nTổng số lượt xem: 1"
    )
    await portal.until(PANEL, lines)
    assert [{**view, "id": ""} for view in portal.views] == [
        {"site": portal.site, "page": "/a", "id": "", "entry": True, "own": False}
    ]
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", portal.views[0]["id"])
    note = await portal.page.evaluate(
        "document.querySelector('visit-counter').shadowRoot.querySelector('[part=note]').innerText"
    )
    assert re.fullmatch(r"7, 30, 365 ngày gần nhất\. Cập nhật lúc \d\d:\d\d:\d\d", note)
    await portal.page.reload()
    await portal.settle(2)


async def test_english_formats_and_choices(portal: Portal) -> None:
    """Language, counters, metric and windows follow the attributes; calendar windows say so."""
    await portal.open(
        "/a",
        '<visit-counter lang="en" metric="visits" counters="today total" windows="calendar"></visit-counter>',
    )
    await portal.until(PANEL, "Visit statistics\nVisits today: 1\nTotal visits: 1")
    text = await portal.page.evaluate(TEXTS)
    assert "Since Monday, the 1st, 1 January" in text[0]


async def test_a_list_of_articles_costs_one_read(portal: Portal) -> None:
    """A hundred articles' views are one request, and only the page itself is counted."""
    articles = "".join(
        f'<visit-counter page="/tin-tuc/{number}" show="views"></visit-counter>'
        for number in range(100)
    )
    await portal.open("/danh-sach", articles)
    await portal.until(f"{TEXTS}.filter(text => text.endsWith('Lượt xem: 0')).length", 100)
    await portal.settle(1)
    assert [view["page"] for view in portal.views] == ["/danh-sach"]
    pages = [url for url in portal.reads if "/pages?" in url]
    assert len(pages) == 1
    assert len(parse_qs(urlsplit(pages[0]).query)["page"]) == 100


async def test_an_article_shows_its_own_view(portal: Portal) -> None:
    """The article's number includes the view that shows it; `visitCounter.count.last` says what became of it."""
    body = '<visit-counter show="views">Lượt xem: ?</visit-counter><visit-counter></visit-counter>'
    for seen in (1, 2):
        await portal.open("/tin-tuc/bai-1", body)
        await portal.until(f"{TEXTS}[0].slice(-11)", f"Lượt xem: {seen}")
        await portal.until("!!(visitCounter.count.last || {}).answer", expected=True)
        last = await portal.page.evaluate("visitCounter.count.last")
        assert re.fullmatch(r"\d+:\d+", last["answer"]["position"])
        assert last["view"]["page"] == "/tin-tuc/bai-1"


async def test_navigation_without_loading_counts(portal: Portal) -> None:
    """Each other path is a view: pushed, replaced, gone back to; another query or hash is none."""
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.settle(1)
    for number, step in enumerate(
        ("pushState({}, '', '/b')", "replaceState({}, '', '/c')", "back()"), start=2
    ):
        await portal.page.evaluate(f"history.{step}")
        await portal.settle(number)
    await portal.page.evaluate("history.pushState({}, '', '/a?x=1#y')")
    await portal.settle(4)
    assert [view["page"] for view in portal.views] == ["/a", "/b", "/c", "/a"]
    assert [view["entry"] for view in portal.views] == [True, False, False, False]


async def test_the_canonical_link_names_the_page(portal: Portal) -> None:
    """The page is its canonical link when that is of the same host."""
    for href, page in (("/bai?id=7", "/bai?id=7"), ("https://other.example/x", "/a")):
        portal.views.clear()
        await portal.open("/a", f'<link rel="canonical" href="{href}">')
        await portal.until("1", 1)
        await asyncio.sleep(0.3)
        assert [view["page"] for view in portal.views] == [page]


async def test_a_hidden_page_counts_when_it_is_seen(portal: Portal) -> None:
    """Nothing is sent, read or streamed while the page is hidden; then the view is counted once."""
    await portal.page.add_init_script(
        "window.covered = true;"
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.covered})"
    )
    await portal.open("/a", "<visit-counter></visit-counter>")
    await asyncio.sleep(0.5)
    assert portal.views == []
    assert portal.reads == []
    await portal.page.evaluate(
        "window.covered = false; document.dispatchEvent(new Event('visibilitychange'))"
    )
    await portal.settle(1)


async def test_a_page_brought_back_counts_again(portal: Portal) -> None:
    """`pageshow` of a page that was kept is a new view with a new id, and no new entry."""
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.settle(1)
    await portal.page.evaluate(
        "dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"
    )
    await portal.settle(2)
    assert len({view["id"] for view in portal.views}) == 2
    assert portal.views[1]["entry"] is False


async def test_a_refused_moment_is_tried_again_with_the_same_id(portal: Portal) -> None:
    """503 and a lost connection are retried with the same id, and the view is counted once."""
    answers = iter(["503", "lost", "served"])

    async def hinder(route: Route) -> None:
        match next(answers):
            case "503":
                headers = {"Retry-After": "1"}
                await route.fulfill(status=503, json={"reason": "busy"}, headers=headers)
            case "lost":  # the server has it, the browser does not know
                await route.fetch()
                await route.abort()
            case _:
                await route.continue_()

    await portal.page.clock.install()
    await portal.page.route("**/v1/views", hinder)
    await portal.open("/a", "<visit-counter></visit-counter>")
    end = time.monotonic() + WAIT_SECONDS
    while len(portal.views) < 3 and time.monotonic() < end:
        await portal.page.clock.run_for(500)
        await asyncio.sleep(0.05)
    await portal.settle(1)
    assert len(portal.views) == 3
    assert len({view["id"] for view in portal.views}) == 1


async def test_another_readers_view_arrives_by_itself(portal: Portal, chromium: Browser) -> None:
    """The panel follows the stream, without a read and within seconds."""
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.settle(1)
    reads = len(portal.reads)
    await asyncio.sleep(0.5)
    other = await chromium.new_page(user_agent=HUMAN + " Other")
    await other.route(
        "**/b", lambda route: route.fulfill(body=portal.bodies["/a"][0], content_type="text/html")
    )
    await other.goto(portal.base_url + "/b")
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 2")
    assert len(portal.reads) == reads


async def test_an_older_number_never_takes_a_newer_ones_place(portal: Portal) -> None:
    """What a stream says of an earlier moment, as one of another replica may, is not shown."""
    is_shown = asyncio.Event()

    async def say_old(route: Route) -> None:
        await is_shown.wait()
        numbers = portal.read("metric=views") | {"total": 0, "as_of": "2026-01-01T00:00:00+07:00"}
        await route.fulfill(
            body=f"event: counters\ndata: {json.dumps(numbers)}\n\n",
            content_type="text/event-stream",
        )

    await portal.page.route("**/stream**", say_old)
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    async with portal.page.expect_event("requestfinished", lambda one: "/stream" in one.url):
        is_shown.set()
    await asyncio.sleep(0.3)
    assert await portal.page.evaluate(f"{PANEL}.split('\\n').pop()") == "Tổng số lượt xem: 1"


async def test_without_a_stream_it_polls_and_pings(portal: Portal) -> None:
    """A refused stream leaves a read each minute; a ping every two minutes is no view."""
    await portal.page.clock.install()
    await portal.page.route("**/stream**", lambda route: route.fulfill(status=503))
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.settle(1)
    reads = len(portal.reads)
    await portal.page.clock.run_for(61_000)
    await asyncio.sleep(0.3)
    assert len(portal.reads) == reads + 1
    await portal.page.clock.run_for(121_000)
    await asyncio.sleep(0.3)
    kinds = [view.get("kind", "view") for view in portal.views]
    assert kinds[0] == "view"
    assert set(kinds[1:]) == {"ping"}
    await portal.settle(1)


async def test_a_service_away_never_shows_zero(portal: Portal) -> None:
    """Before the first number: what stands inside, else a dash. After it: the last, marked late."""
    await portal.page.clock.install()
    away = [True]

    async def hinder(route: Route) -> None:
        await (route.abort() if away[0] else route.continue_())

    await portal.page.route("**/v1/**", hinder)
    body = "<p><visit-counter></visit-counter><p><visit-counter>chưa có số</visit-counter>"
    await portal.open("/a", body)
    await asyncio.sleep(0.5)
    panel = await portal.page.evaluate(PANEL)
    assert panel.split("\n")[1:] == [
        "Đang online: –",
        "Lượt truy cập trong tuần: –",
        "Lượt truy cập trong tháng: –",
        "Lượt truy cập trong năm: –",
        "Tổng số truy cập: –",
    ]
    second = "document.querySelectorAll('visit-counter')[1]"
    assert await portal.page.evaluate(f"{second}.innerText") == "chưa có số"
    height = await portal.page.evaluate("document.querySelector('visit-counter').offsetHeight")
    away[0] = False
    await portal.page.clock.run_for(61_000)
    # The view that was refused is tried again; the number that includes it is the one to stay.
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    assert await portal.page.evaluate("document.querySelector('visit-counter').offsetHeight") == (
        height
    )
    before = await portal.page.evaluate(PANEL)
    away[0] = True
    await portal.page.evaluate("dispatchEvent(new Event('offline'))")
    await portal.page.evaluate(
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
        "document.dispatchEvent(new Event('visibilitychange')); delete document.hidden;"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    await portal.until(f"{TEXTS}[0].includes('Số liệu chậm, lúc ')", expected=True)
    assert await portal.page.evaluate(PANEL) == before


@pytest.mark.parametrize(
    ("site", "words"), [("elsewhere", "403 .*origins"), ("nowhere", "404 .*nowhere")]
)
async def test_a_refusal_is_said_once(portal: Portal, site: str, words: str) -> None:
    """A foreign origin and an unknown site give one warning a page that names the mend."""
    await portal.come_from_elsewhere()
    head = f'<script async src="/widget/v1.js" data-site="{site}"></script>'
    await portal.open("/a", "<visit-counter></visit-counter>" * 2, head=head)
    await asyncio.sleep(1)
    assert len(portal.warnings) == 1
    assert re.search(words, portal.warnings[0]), portal.warnings


async def test_a_strict_policy_is_enough(portal: Portal) -> None:
    """No inline style or code is needed: the panel is styled under a strict policy."""
    csp = "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
    await portal.open("/a", "<visit-counter></visit-counter>", csp=csp)
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    inner = "document.querySelector('visit-counter').shadowRoot.querySelector('dt')"
    assert await portal.page.evaluate(f"getComputedStyle({inner}).display") == "inline"
