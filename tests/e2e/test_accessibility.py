"""WCAG 2.2 AA by axe-core in a real Chromium, and what no rule engine sees: zoom, forced colours, little data, nothing that jumps."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Route

from tests.support.axe import violations
from tests.support.widget_page import PANEL, SHIFTS, Portal, in_one_loop

pytestmark = in_one_loop

STYLE = "<style>:root { color-scheme: light dark } body { color: CanvasText; background: Canvas }</style>"
LAYOUTS = f"""{STYLE}<main><h1>Trang</h1>
<visit-counter></visit-counter>
<visit-counter lang="en" announce counters="today yesterday week"></visit-counter>
<p>Cả năm <visit-counter layout="number" counters="year"></visit-counter> lượt</p>
<visit-counter layout="line" counters="online total"></visit-counter>
<visit-counter show="views"></visit-counter>
<b data-visit-counter="total"></b></main>"""
FILLED = "Array.from(document.querySelectorAll('visit-counter'), one => one.shadowRoot.textContent).every(text => /: ?\\d/.test(text))"


async def test_the_rules_see_what_is_broken(portal: Portal) -> None:
    """A picture without words, and grey on white, are found: the rules do run."""
    await portal.open("/a", '<main><h1>x</h1><img src="data:,"><p style="color:#bbb">x</p></main>')
    found = [line.split(" ")[0] for line in await violations(portal.page)]
    assert found == ["image-alt", "color-contrast"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_layout_of_the_widget(portal: Portal, scheme: str) -> None:
    """All layouts, with their numbers, also where the reader wants it dark."""
    await portal.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await portal.open("/a", LAYOUTS)
    await portal.until(FILLED, expected=True)
    assert await violations(portal.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_frame_fragment_and_the_pages_of_a_site(portal: Portal, scheme: str) -> None:
    """The pages that the server draws, in both languages: also a month's report and the help to install."""
    await portal.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await portal.view_from_elsewhere()
    await portal.settle(1)
    await portal.page.goto(f"{portal.base_url}/v1/sites/{portal.site}/fragment.html")
    fragment = await portal.page.inner_html("body")
    await portal.open("/a", f"{STYLE}<main><h1>Trang</h1>{fragment}</main>", head="")
    assert await violations(portal.page) == []
    month = datetime.now(ZoneInfo("Asia/Ho_Chi_Minh")).strftime("%Y-%m")
    for lang in ("vi", "en"):
        for path in (
            f"/embed/{portal.site}?page=/a&lang={lang}",
            f"/sites/{portal.site}?lang={lang}",
            f"/sites/{portal.site}?lang={lang}&month={month}",
            f"/sites/{portal.site}/install?lang={lang}",
        ):
            await portal.page.goto(portal.base_url + path)
            assert await violations(portal.page) == [], path


async def test_large_text_on_a_narrow_screen(portal: Portal) -> None:
    """At 320 pixels, and with text of twice the size, nothing is cut off and nothing needs scrolling sideways (WCAG 1.4.4, 1.4.10)."""
    await portal.page.set_viewport_size({"width": 320, "height": 600})
    await portal.open("/a", LAYOUTS)
    await portal.until(FILLED, expected=True)
    for size in ("100%", "200%"):
        await portal.page.evaluate("size => document.documentElement.style.fontSize = size", size)
        assert await portal.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        inside = "Array.from(document.querySelectorAll('visit-counter'), one => one.scrollWidth <= innerWidth).every(Boolean)"
        assert await portal.page.evaluate(inside)


async def test_forced_colours_are_the_readers(portal: Portal) -> None:
    """With forced colours every text has the reader's colour for text, also where the page has given the counter one."""
    await portal.page.emulate_media(forced_colors="active")
    style = "<style>visit-counter { --visit-counter-color: #bbb }</style><p>x</p>"
    await portal.open("/a", style + "<visit-counter></visit-counter>")
    await portal.until(FILLED, expected=True)
    colour = "getComputedStyle(document.querySelector('visit-counter').shadowRoot.querySelector('{}')).color"
    plain = await portal.page.evaluate("getComputedStyle(document.querySelector('p')).color")
    for part in ("[part=caption]", "dt", "dd"):
        assert await portal.page.evaluate(colour.format(part)) == plain, part


async def test_a_page_styles_the_parts(portal: Portal) -> None:
    """`::part` and the custom property reach what they name."""
    style = "<style>visit-counter { --visit-counter-color: rgb(1, 2, 3) } visit-counter::part(value) { color: rgb(4, 5, 6) }</style>"
    await portal.open("/a", style + "<visit-counter></visit-counter>")
    await portal.until(FILLED, expected=True)
    colour = "getComputedStyle(document.querySelector('visit-counter').shadowRoot.querySelector('{}')).color"
    assert await portal.page.evaluate(colour.format("dt")) == "rgb(1, 2, 3)"
    assert await portal.page.evaluate(colour.format("dd")) == "rgb(4, 5, 6)"


async def test_little_data_starts_paused(portal: Portal) -> None:
    """With Save-Data the numbers come once, and move only when told to."""
    session = await portal.context.new_cdp_session(portal.page)
    await session.send("Emulation.setDataSaverOverride", {"dataSaverEnabled": True})
    asked: list[str] = []
    portal.page.on("request", lambda request: asked.append(request.url))
    await portal.open("/a", "<visit-counter></visit-counter>")
    assert await portal.page.evaluate("navigator.connection.saveData")
    await portal.until(f"{PANEL}.split('\\n').pop()", "Tổng số lượt xem: 1")
    pause = (
        "document.querySelector('visit-counter').shadowRoot.querySelector('[part=pause]').innerText"
    )
    await portal.until(pause, "Tiếp tục")
    assert [url for url in asked if "/stream" in url] == []


async def test_nothing_moves_when_the_numbers_come(portal: Portal) -> None:
    """From the panel's first drawing to its numbers nothing below it moves; nor while the script is on its way, where room is kept."""

    async def slowly(route: Route) -> None:
        await asyncio.sleep(0.5)
        await route.continue_()

    await portal.page.route("**/v1/**", slowly)
    await portal.page.add_init_script(SHIFTS)
    below = "<p>Chân trang</p>"
    await portal.open("/drawn", "<visit-counter></visit-counter>" + below)
    await portal.until("!!customElements.get('visit-counter')", expected=True)
    await portal.page.evaluate(
        "new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go))).then(() => shifts.length = 0)"
    )
    await portal.until(FILLED, expected=True)
    await asyncio.sleep(0.3)
    assert await portal.page.evaluate("shifts") == []
    # The observer does see what moves.
    await portal.page.evaluate("document.querySelector('p').style.marginTop = '200px'")
    await portal.until("shifts.length", 1)

    await portal.page.route("**/widget/v1.js", slowly)
    room = "<style>body { line-height: 1.5 } visit-counter { display: block; min-height: 15em }</style>"
    await portal.open("/on-its-way", f"{room}<visit-counter></visit-counter>{below}")
    await portal.until(FILLED, expected=True)
    await asyncio.sleep(0.3)
    assert await portal.page.evaluate("shifts") == []
