"""The numbers without a script of ours on the page: framed, included, drawn; in a real Chromium."""

from __future__ import annotations

import asyncio

from playwright.async_api import Browser

from tests.support.load import HUMAN
from tests.support.widget_page import PANEL, Portal, in_one_loop, until

pytestmark = in_one_loop

LINES = (
    "Thống kê truy cập\nĐang online: {n}\nLượt xem trong tuần: {n}\nLượt xem trong tháng: {n}\n"
    "Lượt xem trong năm: {n}\nTổng số lượt xem: {n}"
)


async def test_a_frame_counts_and_shows_the_panel(portal: Portal) -> None:
    """A page that frames the counter is counted under its own name, and the frame reads as the panel."""
    await portal.open(
        "/a", f'<iframe src="/embed/{portal.site}?page=/a" title="counter"></iframe>', head=""
    )
    await portal.settle(1)
    assert [view["page"] for view in portal.views] == ["/a"]
    frame = portal.page.frames[1]
    await until(frame, PANEL, LINES.format(n=1))
    assert await frame.evaluate("document.querySelectorAll('visit-counter').length") == 2


async def test_a_site_with_origins_counts_in_its_frame(portal: Portal) -> None:
    """The frame's own requests are of the counter's host and still counted; who may frame it is the site's to say."""
    body = '<iframe src="/embed/elsewhere?page=/a" title="counter"></iframe>'
    await portal.open("/a", body, head="")
    await asyncio.sleep(1)
    # This page is none of the site's origins: the browser shows nothing and nothing is counted.
    assert portal.views == []
    page = await portal.context.new_page()
    await page.goto(f"{portal.base_url}/embed/elsewhere?page=/a")
    await portal.settle(1, "elsewhere")


async def test_without_scripts_the_frame_shows_the_numbers(
    portal: Portal, chromium: Browser
) -> None:
    """With scripts forbidden the frame's text is the caption and the five lines, then the note."""
    await portal.view_from_elsewhere()
    await portal.settle(1)
    context = await chromium.new_context(user_agent=HUMAN, java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{portal.base_url}/embed/{portal.site}?page=/a")
    text = await page.locator("body").inner_text()
    assert text.startswith(LINES.format(n=1) + "\n7, 30, 365 ngày gần nhất. Cập nhật lúc ")
    # It counts its reader by an image.
    await portal.settle(2)
    await page.goto(f"{portal.base_url}/v1/sites/{portal.site}/fragment.html")
    assert (await page.locator(".visit-counter").inner_text()) == LINES.format(n=2)
    await context.close()


async def test_a_badge_is_drawn(portal: Portal) -> None:
    """The image of another origin's page loads, with its size."""
    await portal.view_from_elsewhere()
    await portal.settle(1)
    await portal.open("/a", f'<img src="/v1/sites/{portal.site}/badge.svg" alt="counter">', head="")
    await portal.until(
        "(image => image.complete && image.naturalHeight)(document.images[0])", expected=20
    )
