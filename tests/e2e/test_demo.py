"""The demo portal in a real Chromium: `up` without a configuration, as somebody sees it who tries the counter for the first time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, expect

from tests.support import picture
from tests.support.axe import violations
from tests.support.load import HUMAN
from tests.support.visit_counter import Service
from tests.support.widget_page import PANEL, SHIFTS, WAIT_SECONDS, in_one_loop, until

pytestmark = in_one_loop

SITE_PANEL = PANEL.replace("visit-counter'", "visit-counter:not([show])'")
WAIT_MS = WAIT_SECONDS * 1000
REFERENCE_LINES = (
    "Thống kê truy cập\nĐang online: 1134\nLượt truy cập trong tuần: 21559\nLượt truy cập trong tháng: 87424\n"
    "Lượt truy cập trong năm: 155277\nTổng số truy cập: 155351"
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The demo, for the tests of this module."""
    folder = tmp_path_factory.mktemp("demo")
    service = Service("up", None, directory=folder, arguments=["--data", folder / "data"])
    service.start()
    yield service
    service.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, demo: Service) -> AsyncIterator[Page]:
    """A reader's tab; nothing may throw, and no other host may be asked."""
    opened = await chromium.new_page(user_agent=HUMAN)
    problems: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((demo.base_url, "data:")):
            problems.append(request.url)

    opened.on("request", note)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    assert problems == []
    await opened.close()


SHOWN = """<!doctype html><html lang="vi"><meta charset="utf-8"><title>x</title>
<link rel="icon" href="data:,"><script async src="/widget/v1.js" data-site="demo"></script>
<style>:root { color-scheme: light dark } body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; width: 26rem }
section { padding: 1rem }</style>
<section id="panel"><visit-counter></visit-counter></section>
<section id="line"><visit-counter layout="line" counters="online total"></visit-counter></section>
<section id="number">Năm nay đã có <visit-counter layout="number" counters="year" format="full"></visit-counter> lượt truy cập.</section>
<section id="views"><visit-counter page="/tin-tuc/bai-1" show="views"></visit-counter></section>
<section id="badge"><img src="/v1/sites/demo/badge.svg" alt="">
<img src="/v1/sites/demo/badge.svg?counter=online&theme=blue&lang=en" alt=""></section>
"""


async def test_pictures_of_the_reference_case(page: Page, demo: Service) -> None:
    """The first reader of the demo sees exactly the reference lines, and nothing moves; so do the pictures in README and docs."""
    await page.set_viewport_size({"width": 1100, "height": 900})
    await page.add_init_script(SHIFTS)
    await page.goto(demo.base_url + "/")
    await until(page, SITE_PANEL, REFERENCE_LINES)
    await expect(page.locator("#views")).to_contain_text("vị trí 0:", timeout=WAIT_MS)
    await expect(page.locator("#change")).to_contain_text("→", timeout=WAIT_MS)
    await picture.take(page, "demo")
    assert await page.evaluate("shifts") == []
    await page.route("**/shown", lambda route: route.fulfill(body=SHOWN, content_type="text/html"))
    await page.goto(demo.base_url + "/shown")
    await until(page, f"{PANEL} === {REFERENCE_LINES!r}", expected=True)
    await until(page, "document.images[1].naturalHeight", 20)
    for name in ("panel", "line", "number", "views", "badge"):
        await picture.take(page.locator(f"#{name}"), f"widget-{name}")
    await page.emulate_media(color_scheme="dark")
    await picture.take(page.locator("#panel"), "widget-dark")
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 420, "height": 420})
    await page.goto(f"{demo.base_url}/embed/demo?page=/tin-tuc/bai-1")
    await until(page, PANEL, REFERENCE_LINES)
    await picture.take(page, "embed")


async def test_it_moves_with_every_reload(page: Page, demo: Service) -> None:
    """The sample figures are shown, said to be samples, and a line says what each view changed."""
    for views in (58, 59):
        await page.goto(f"{demo.base_url}/tin-tuc/bai-1")
        line = page.locator("#change")
        await expect(line).to_contain_text(f"→ {views}", timeout=WAIT_MS)
        text = await line.inner_text()
        assert f"{views - 1} → {views}" in text, text
        assert re.search(r"\b0:\d+", text), text
    assert "Số liệu mẫu" in await page.inner_text("body")
    panel = await page.evaluate(SITE_PANEL)
    assert panel.startswith("Thống kê truy cập\nĐang online: ")


async def test_a_button_sends_another_visitor(page: Page, demo: Service) -> None:
    """Each press is one reader more, online and in all, and its view goes by with its position; the page's own view does too."""
    await page.goto(f"{demo.base_url}/tin-tuc/bai-2?lang=en")
    feed = page.locator("#views")
    await expect(feed).to_contain_text(
        re.compile(r"/tin-tuc/bai-2 · \d+ → \d+ views \(this page, position 0:\d+\)"),
        timeout=WAIT_MS,
    )
    total = r"Total visits: (\d+)"

    async def number() -> int:
        found = re.search(total, await page.evaluate(SITE_PANEL))
        assert found is not None
        return int(found[1])

    before = await number()
    for _ in range(3):
        await page.get_by_role("button", name="Send another visitor").click()
    await page.wait_for_function(
        f"{SITE_PANEL}.includes('Total visits: {before + 3}')", timeout=WAIT_MS
    )
    await expect(feed).to_contain_text(
        re.compile(r"a sample visitor, position 0:\d+"), timeout=WAIT_MS
    )


async def test_the_views_that_go_by_can_be_stopped(page: Page, demo: Service) -> None:
    """A button that the keyboard reaches stops the list, and starts it again with what was missed."""
    await page.goto(demo.base_url + "/")
    feed, pause = page.locator("#views"), page.locator("#pause")
    await expect(feed).to_contain_text("vị trí 0:", timeout=WAIT_MS)
    await pause.focus()
    await page.keyboard.press("Enter")
    await expect(pause).to_have_text("Tiếp tục")
    shown = await feed.inner_text()
    await page.get_by_role("button", name="Gửi thêm một khách").click()
    await page.wait_for_timeout(2_500)
    assert await feed.inner_text() == shown
    await pause.click()
    await expect(feed).to_contain_text("khách mẫu", timeout=WAIT_MS)


async def test_without_a_script_it_can_be_read(chromium: Browser, demo: Service) -> None:
    """List, articles and the other language are pages of the server."""
    page = await chromium.new_page(user_agent=HUMAN, java_script_enabled=False)
    await page.goto(demo.base_url + "/")
    await page.get_by_role("link", name="English").click()
    await page.get_by_role("link", name="Hours for citizens in December").click()
    assert page.url == f"{demo.base_url}/tin-tuc/bai-2?lang=en"
    assert await page.locator("html").get_attribute("lang") == "en"
    assert not await page.locator("#send").is_visible()
    await page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_accessible(page: Page, demo: Service, scheme: str) -> None:
    """WCAG 2.2 AA on the list and on an article, in both languages, on a wide and on a narrow screen, which never scrolls sideways."""
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for width, path in ((1280, "/"), (320, "/tin-tuc/bai-3?lang=en")):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(demo.base_url + path)
        await expect(page.locator("#views")).to_contain_text("0:", timeout=WAIT_MS)
        assert await violations(page) == [], path
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
