"""How the widget behaves on other people's pages: quiet, paused where wanted, harmless when its service is away."""

from __future__ import annotations

import asyncio
import re
import socket

from playwright.async_api import Browser, Request, Route

from tests.support.load import HUMAN
from tests.support.visit_counter import Service
from tests.support.widget_page import PANEL, TEXTS, Portal, in_one_loop

pytestmark = in_one_loop

ROOT = "document.querySelector('visit-counter').shadowRoot"
PAUSE = f"{ROOT}.querySelector('[part=pause]')"


def streams(portal: Portal) -> list[str]:
    """Note every stream that is asked for from now on."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/stream" in request.url:
            asked.append(request.url)

    portal.page.on("request", note)
    return asked


async def test_any_element_can_show_a_number(portal: Portal) -> None:
    """`data-visit-counter` fills an element's text with the bare number, of the site or of a page."""
    await portal.open(
        "/a",
        '<b data-visit-counter="total">?</b><i data-visit-counter="views">?</i>'
        '<u data-visit-counter="views" data-page="/other">?</u>',
    )
    texts = "['b', 'i', 'u'].map(tag => document.querySelector(tag).textContent).join()"
    await portal.until(texts, "1,1,0")
    await portal.settle(1)


async def test_line_and_number_fit_into_a_sentence(portal: Portal) -> None:
    """The `line` and `number` layouts stand within a line, and do not move by themselves."""
    await portal.open(
        "/a",
        '<p>Cả năm <visit-counter layout="number" counters="year"></visit-counter> lượt</p>'
        '<visit-counter layout="line" counters="online total"></visit-counter>',
    )
    await portal.until("document.querySelector('p').offsetHeight < 40", expected=True)
    await portal.until(PANEL, "1")
    line = "document.querySelectorAll('visit-counter')[1].shadowRoot.querySelector('[part=panel]')"
    await portal.until(
        f"{line}.innerText", "Đang online: 1\N{EM SPACE}Tổng số lượt xem: 1\N{EM SPACE}"
    )
    asked = streams(portal)
    await portal.view_from_elsewhere()
    await asyncio.sleep(1.5)
    assert asked == []
    assert await portal.page.evaluate(PANEL) == "1"
    await portal.leave_and_return()
    await portal.until(PANEL, "2")


async def test_formats_follow_the_language(portal: Portal) -> None:
    """`full` and `compact` numbers are written as the language writes them; an unknown format is plain."""

    async def large(route: Route) -> None:
        answer = await (await route.fetch()).json()
        await route.fulfill(json=answer | {"total": 1_134_000})

    await portal.page.route("**/counters**", large)
    await portal.page.route("**/stream**", lambda route: route.abort())
    formats = ("plain", "full", "compact", "nonsense")
    body = "".join(
        f'<visit-counter lang="{lang}" counters="total" layout="number" format="{name}"></visit-counter>'
        for lang in ("vi", "en-US", "vi_VN")
        for name in formats
    )
    await portal.open("/a", body)
    vietnamese = ["1134000", "1.134.000", "1,1\N{NO-BREAK SPACE}Tr", "1134000"]
    numbers = "Array.from(document.querySelectorAll('visit-counter'), one => one.shadowRoot.querySelector('dd').textContent)"
    await portal.until(
        numbers, [*vietnamese, "1134000", "1,134,000", "1.1M", "1134000", *vietnamese]
    )


async def test_a_reader_can_stop_the_moving_numbers(portal: Portal) -> None:
    """A button reachable by keyboard stops the stream and the polls, says so, and starts them again."""
    asked = streams(portal)
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    await portal.until(f"{PAUSE}.innerText", "Tạm dừng")
    await portal.page.keyboard.press("Tab")
    await portal.page.keyboard.press("Tab")
    assert await portal.page.evaluate(f"{ROOT}.activeElement === {PAUSE}")
    # Stopping reads once more: what comes later is not in that answer.
    async with portal.page.expect_response("**/counters**"):
        await portal.page.keyboard.press("Enter")
    await portal.until(f"{PAUSE}.innerText", "Tiếp tục")
    opened = len(asked)
    await portal.view_from_elsewhere()
    await asyncio.sleep(2)
    assert await portal.page.evaluate(f"{PANEL}.split('\\n').pop()") == "Tổng số lượt xem: 1"
    await portal.page.keyboard.press("Enter")
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 2")
    assert len(asked) == opened + 1


async def test_reduced_motion_starts_paused(portal: Portal) -> None:
    """Where the reader asks for little motion, numbers come once and move only when told to."""
    await portal.page.emulate_media(reduced_motion="reduce")
    asked = streams(portal)
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    await portal.until(f"{PAUSE}.innerText", "Tiếp tục")
    assert asked == []


async def test_live_off_has_no_stream_and_no_button(portal: Portal) -> None:
    """`live="off"` asks for no stream and offers nothing to pause."""
    asked = streams(portal)
    await portal.open("/a", '<visit-counter live="off"></visit-counter>')
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    await asyncio.sleep(0.5)
    assert asked == []
    assert await portal.page.evaluate(PAUSE) is None


async def test_panels_share_requests_and_one_stream(portal: Portal) -> None:
    """Fifty panels and fifty pages cost three reads before and after the view, and one stream."""
    asked = streams(portal)
    body = "<visit-counter></visit-counter>" * 50 + "".join(
        f'<visit-counter page="/x/{number}" show="views"></visit-counter>' for number in range(50)
    )
    await portal.open("/a", body)
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    await asyncio.sleep(0.5)
    kinds = [re.sub(r".*/(\w+)\?.*", r"\1", url) for url in portal.reads]
    assert sorted(kinds) == ["counters", "counters", "pages"]
    assert len(asked) == 1
    assert len(portal.views) == 1


async def test_an_idle_reader_lets_the_stream_go(portal: Portal) -> None:
    """Ten minutes without a sign of the reader end the stream and the pings; polls go on; a sign brings it back."""
    await portal.page.clock.install()
    asked = streams(portal)
    await portal.open("/a", '<visit-counter></visit-counter><p style="height:5000px"></p>')
    await portal.page.clock.run_for(1_000)
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    await portal.page.clock.run_for(11 * 60_000)
    await asyncio.sleep(0.3)
    opened, pings = len(asked), len(portal.views)
    reads = len(portal.reads)
    await portal.page.clock.run_for(5 * 60_000)
    await asyncio.sleep(0.3)
    assert (len(asked), len(portal.views)) == (opened, pings)
    assert len(portal.reads) == reads + 5
    await portal.page.mouse.wheel(0, 500)
    await asyncio.sleep(0.3)
    await portal.page.clock.run_for(60_000)
    await asyncio.sleep(0.3)
    assert len(asked) == opened + 1


async def test_nothing_is_read_out_unless_asked(portal: Portal) -> None:
    """No live region speaks by default; `announce` says the lines once a minute at most."""
    await portal.page.clock.install()
    body = "<visit-counter></visit-counter><visit-counter announce></visit-counter>"
    await portal.open("/a", body)
    await portal.page.clock.run_for(1_000)
    spoken = (
        "Array.from(document.querySelectorAll('visit-counter'), "
        "one => (one.shadowRoot.querySelector('[role=status]') || {}).textContent)"
    )
    await portal.until(f"/^Đang online: +\\d/.test({spoken}[1])", expected=True)
    assert (await portal.page.evaluate(spoken))[0] is None
    first = await portal.page.evaluate(spoken)
    await portal.view_from_elsewhere()
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 2")
    assert await portal.page.evaluate(spoken) == first
    await portal.page.clock.run_for(61_000)
    await portal.until(f"/lượt xem: +2$/.test({spoken}[1])", expected=True)


async def test_a_page_may_count_by_itself(portal: Portal) -> None:
    """`data-spa="off"` leaves navigation alone; `visitCounter.count(page)` counts by hand."""
    head = f'<script async src="/widget/v1.js" data-site="{portal.site}" data-spa="off"></script>'
    await portal.open("/a", "<visit-counter></visit-counter>", head=head)
    await portal.settle(1)
    await portal.page.evaluate("history.pushState({}, '', '/b')")
    await portal.settle(1)
    await portal.page.evaluate("visitCounter.count('/by-hand')")
    await portal.settle(2)
    await portal.page.evaluate("visitCounter.count()")
    await portal.settle(3)
    assert [view["page"] for view in portal.views] == ["/a", "/by-hand", "/b"]
    assert [view["entry"] for view in portal.views] == [True, False, False]


async def test_a_script_pasted_twice_counts_once(portal: Portal) -> None:
    """A template that carries the script twice has one view and one stream."""
    head = f'<script async src="/widget/v1.js" data-site="{portal.site}"></script>' * 2
    await portal.open("/a", "<visit-counter></visit-counter>", head=head)
    await portal.settle(1)
    assert len(portal.views) == 1


async def test_the_history_of_the_page_stays_its_own(portal: Portal) -> None:
    """The page's own pushState is not replaced."""
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.settle(1)
    assert "native code" in await portal.page.evaluate("history.pushState.toString()")


async def test_a_black_hole_leaves_the_page_alone(portal: Portal) -> None:
    """A service that takes connections and never answers delays no load and shows what stands inside."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        base = f"http://127.0.0.1:{hole.getsockname()[1]}"
        script = await portal.script()
        await portal.page.route(
            f"{base}/widget/v1.js",
            lambda route: route.fulfill(body=script, content_type="text/javascript"),
        )
        head = f'<script async src="{base}/widget/v1.js" data-site="{portal.site}"></script>'
        body = "<visit-counter>chưa có số</visit-counter><visit-counter></visit-counter>"
        await portal.open("/a", body, head=head)
        await portal.until("document.readyState", "complete")
        await portal.until("customElements.get('visit-counter') !== undefined", expected=True)
        await asyncio.sleep(1)
        assert await portal.page.evaluate("document.body.innerText.includes('chưa có số')")
        second = "document.querySelectorAll('visit-counter')[1].shadowRoot.querySelector('[part=panel]').innerText"
        assert "Đang online: –" in await portal.page.evaluate(second)
        assert " 0" not in await portal.page.evaluate(second)


async def test_a_real_return_by_the_history_counts(portal: Portal) -> None:
    """Going away and back, from the browser's cache or not, is a new view of the same page."""
    link = '<link rel="canonical" href="/bai-chinh">'
    await portal.open("/a", f"{link}<visit-counter></visit-counter>")
    await portal.settle(1)
    await portal.open("/b", "<visit-counter></visit-counter>")
    await portal.settle(2)
    await portal.page.go_back()
    await portal.settle(3)
    assert [view["page"] for view in portal.views] == ["/bai-chinh", "/b", "/bai-chinh"]


async def test_a_webmasters_browser_can_be_left_out(portal: Portal) -> None:
    """#visit-counter-skip marks this browser as own and says so; the same again takes the mark away."""
    dialog = "(document.querySelector('dialog') || document.body).innerText"
    reason = "(visitCounter.count.last || {answer: {reason: 'none yet'}}).answer.reason"
    panel = "<visit-counter></visit-counter>"
    await portal.open("/a#visit-counter-skip", panel, path="/a")
    await portal.until(f"{dialog}.includes('không được đếm')", expected=True)
    await portal.open("/b", panel)
    await portal.until(reason, "own")
    before = await asyncio.to_thread(portal.total)
    await portal.open("/c", panel)
    await portal.until(reason, "own")
    await portal.settle(before)
    await portal.open("/d#visit-counter-skip", panel, path="/d")
    await portal.until(f"{dialog}.includes('lại được đếm')", expected=True)
    await portal.open("/e", panel)
    await portal.until(f"!!{reason}", expected=False)
    assert portal.views[-1]["own"] is False


async def test_the_debug_box_tells_what_was_counted(portal: Portal) -> None:
    """#visit-counter-debug draws site, page, position and answer; a refusal with its reason and mend."""
    await portal.open("/a?x=1#visit-counter-debug", "<visit-counter></visit-counter>", path="/a")
    box = "(document.querySelector('dialog pre') || {}).textContent"
    await portal.until(f"/counted at 0:\\d+/.test({box})", expected=True)
    text = await portal.page.evaluate(box)
    assert f"site    {portal.site}" in text
    assert "page    /a?x=1" in text
    await portal.come_from_elsewhere()
    head = '<script async src="/widget/v1.js" data-site="elsewhere"></script>'
    await portal.open("/b#visit-counter-debug", "", head=head, path="/b")
    await portal.until(f"/not counted: origin.*add it to origins/.test({box})", expected=True)


async def test_a_site_speaks_its_own_language(portal: Portal) -> None:
    """Without an attribute the site's language counts, whatever the page's."""
    head = '<script async src="/widget/v1.js" data-site="english"></script>'
    await portal.open("/a", "<visit-counter></visit-counter>", head=head)
    await portal.until(f"{PANEL}.split('\\n')[0]", "Visit statistics")
    await portal.open("/b", '<visit-counter show="views"></visit-counter>', head=head)
    await portal.until(f"{TEXTS}[0].slice(-8)", "Views: 1")


async def test_privacy_signals_count_without_a_pseudonym(portal: Portal, chromium: Browser) -> None:
    """A browser that says Do Not Track or Global Privacy Control is counted and never recognised."""
    for header in ("DNT", "Sec-GPC"):
        context = await chromium.new_context(user_agent=HUMAN, extra_http_headers={header: "1"})
        page = await context.new_page()
        await page.route("**/*", portal.serve)
        portal.declare("/a", "<visit-counter></visit-counter>")
        for _ in range(2):
            await page.goto(portal.base_url + "/a")
            await page.wait_for_function("(visitCounter.count.last || {}).answer")
        await context.close()
    await portal.settle(4)
    assert portal.read("metric=visitors")["total"] == 0


async def test_a_cut_stream_comes_back(portal: Portal, up: Service) -> None:
    """After the service was killed and started again the panel polls, then follows a new stream; no view is sent twice."""
    await portal.page.clock.install()
    asked = streams(portal)
    await portal.open("/a", "<visit-counter></visit-counter>")
    await portal.page.clock.run_for(1_000)
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    await asyncio.to_thread(up.kill)
    await asyncio.to_thread(up.start)
    await portal.view_from_elsewhere()
    await portal.page.clock.run_for(61_000)
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 2")
    assert len(asked) == 2
    await portal.view_from_elsewhere()
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 3")
    assert [view["page"] for view in portal.views if "kind" not in view] == ["/a"]
