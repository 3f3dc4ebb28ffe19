"""The pages of a site in a real Chromium, on one started system: tables, charts, paper, and the check of an installation."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.support.axe import violations
from tests.support.load import HUMAN, Visit, send
from tests.support.picture import take
from tests.support.visit_counter import REPOSITORY, Service, write_config
from tests.support.web_site import WebSite, open_web_site
from tests.support.widget_page import in_one_loop, until

pytestmark = in_one_loop

SITE = "thanhxuan"
A4_POINTS = (595, 842)
"""210 mm by 297 mm (ISO 216), in points of 1/72 inch."""

ANSWERS = "Array.from(document.querySelectorAll('.answers li'), one => one.textContent.replace(/\\d+ s/, 'N s'))"
CHARTS = "document.querySelectorAll('figure.chart canvas').length"


class Shown(NamedTuple):
    """What the tests look at: the services, and a portal whose pages are the site's, and one whose pages are not."""

    up: Service
    listed: WebSite
    unlisted: WebSite

    @property
    def page(self) -> str:
        """The address of the statistics page."""
        return f"{self.up.base_url}/sites/{SITE}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shown]:
    """One system with a year of day totals and some views of today."""
    folder = tmp_path_factory.mktemp("pages")
    async with AsyncExitStack() as stack:
        listed = await stack.enter_async_context(open_web_site())
        unlisted = await stack.enter_async_context(open_web_site())
        url = f"sqlite:{folder / 'visit-counter.db'}"
        site = {"name": "Cổng thông tin điện tử quận Thanh Xuân", "origins": [listed.base_url]}
        server = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
        config = write_config(folder / "c.toml", url, url, {SITE: site}, server=server)
        await asyncio.to_thread(carry_over, config, folder / "days.csv")
        up = Service("up", config, directory=folder)
        stack.callback(up.kill)
        await asyncio.to_thread(up.start)
        visits = [
            Visit(f"view-{n:06d}", SITE, f"/tin-tuc/bai-{min(n % 11, n % 7)}", f"198.51.100.{n}")
            for n in range(200)
        ]
        assert len((await send(up.base_url, visits, 1_000)).positions) == len(visits)
        yield Shown(up, listed, unlisted)


def carry_over(config: Path, totals: Path) -> None:
    """Bring a year of day totals in, with quiet weekends."""
    today = date.today()  # noqa: DTZ011  # the last days are as good as any
    lines = ["date,views,visits,visitors"]
    for age in range(360, 0, -1):
        day = today - timedelta(days=age)
        views = (420 if day.weekday() > 4 else 900) + 37 * (age * 7919 % 11)
        lines.append(f"{day},{views},{views * 9 // 20},{views * 2 // 5}")
    totals.write_text("\n".join(lines) + "\n", encoding="utf-8")
    argv = [sys.executable, "-m", "services.cli", "import-log", str(totals), "--site", SITE]
    done = subprocess.run(
        [*argv, "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest_asyncio.fixture(loop_scope="module")
async def context(shown: Shown, chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A browser's window in which the pages of the site must not complain: not of the policy, not of a script."""
    said: list[str] = []
    made = await chromium.new_context(user_agent=HUMAN, viewport={"width": 1000, "height": 1100})

    def hear(message: ConsoleMessage) -> None:
        if message.page is not None and message.page.url.startswith(shown.up.base_url):
            said.append(f"{message.type}: {message.text}")

    made.on("console", hear)
    made.on("weberror", lambda error: said.append(str(error.error)))
    yield made
    await made.close()
    assert said == []


async def opened(context: BrowserContext, address: str) -> Page:
    page = await context.new_page()
    answer = await page.goto(address)
    assert answer is not None
    assert answer.status == 200
    return page


async def test_without_scripts_the_tables_stand_open(shown: Shown, chromium: Browser) -> None:
    """Hours, days and months can be read with scripts forbidden; there is no empty place for a chart."""
    context = await chromium.new_context(java_script_enabled=False)
    page = await opened(context, shown.page)
    for name, rows in (("hour", 48), ("day", 30), ("month", 12)):
        table = page.locator(f"#{name}-table")
        assert await table.is_visible()
        assert await table.locator("tbody tr").count() in {rows, rows + 1}
    assert await page.locator("figure.chart:visible").count() == 0
    assert "Đang online: 200" in await page.locator(".visit-counter").inner_text()
    await context.close()


async def test_charts_are_drawn_under_the_strict_policy_picture(
    shown: Shown, context: BrowserContext
) -> None:
    """Each table has its chart, named for those who do not see it; the tables can be opened; nothing is refused or fetched elsewhere."""
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = await opened(context, shown.page)
    await until(page, CHARTS, 3)
    figure = page.locator("figure.chart").nth(1)
    label = await figure.get_attribute("aria-label")
    assert (
        label
        == "Biểu đồ: Lượt truy cập theo ngày, 30 ngày gần nhất. Các số có trong bảng bên dưới."
    )
    assert not await page.locator("#day-table").is_visible()
    # Bars are drawn: the canvas has pixels of their colour.
    painted = await figure.locator("canvas").evaluate(
        "canvas => {const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "let n = 0; for (let i = 0; i < data.length; i += 4) n += data[i] == 0x9b && data[i + 1] == 0x1c; return n}"
    )
    assert painted > 1_000
    await take(page, "statistics")
    await page.locator("summary").nth(1).click()
    assert await page.locator("#day-table").is_visible()
    assert {url.removeprefix(shown.up.base_url).split("/")[1] for url in asked} == {
        "sites",
        "widget",
    }


async def test_a_narrow_window_does_not_scroll_sideways(
    shown: Shown, context: BrowserContext
) -> None:
    """At 320 pixels (WCAG 1.4.10) the page fits; wide tables scroll within themselves, charts follow."""
    for path in ("", f"?month={date.today():%Y-%m}", "/install"):  # noqa: DTZ011  # any month
        page = await opened(context, shown.page + path)
        await page.set_viewport_size({"width": 320, "height": 700})
        await until(page, "document.documentElement.scrollWidth <= innerWidth", expected=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_bars_a_reader(
    shown: Shown, context: BrowserContext, scheme: Literal["light", "dark"]
) -> None:
    """WCAG 2.2 AA as far as axe-core can try it, with the charts drawn and the tables open, in light and dark."""
    for path in ("", f"?lang=en&month={date.today():%Y-%m}", "/install?page=https%3A//x.example/"):  # noqa: DTZ011  # as above
        page = await context.new_page()
        await page.emulate_media(color_scheme=scheme)
        await page.goto(shown.page + path)
        await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert await violations(page) == [], path


async def test_the_report_is_two_sheets_of_a4_picture(
    shown: Shown, context: BrowserContext
) -> None:
    """A whole month fits on two sheets, with all its days, without what belongs to the screen."""
    last_month = date.today().replace(day=1) - timedelta(days=1)  # noqa: DTZ011  # as above
    page = await opened(context, f"{shown.page}?month={last_month:%Y-%m}")
    assert await page.locator("table.dense").first.locator("tbody tr").count() == last_month.day
    await page.emulate_media(media="print")
    assert not await page.locator(".screen").is_visible()
    paper = await page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 2
    [size] = {
        tuple(round(float(n)) for n in box.split()[2:])
        for box in re.findall(rb"/MediaBox\s*\[([^\]]+)\]", paper)
    }
    assert size == A4_POINTS
    await take(page, "report")


async def test_the_live_check_says_seen_picture(shown: Shown, context: BrowserContext) -> None:
    """A page of the portal opened beside is seen, counted, and in the numbers; a refusal comes with what mends it."""
    check = await opened(context, f"{shown.page}/install?lang=en")
    await check.get_by_role("button", name="Start the check").click()
    reached = "The server takes this browser's requests."
    await until(
        check,
        ANSWERS,
        [reached, "No view of this browser yet. Open a page of the portal in another tab."],
    )
    script = f'<script async src="{shown.up.base_url}/widget/v1.js" data-site="%s"></script>'
    await opened(context, shown.listed.declare("/bai-1", script % SITE, ""))
    await until(
        check,
        ANSWERS,
        [reached, "Seen from your address N s ago: counted.", "The numbers include that view."],
    )
    # What is read out does not change with every second.
    spoken = await check.get_by_role("status").text_content()
    assert spoken is not None
    assert "Seen from your address" in spoken
    seconds = "parseInt(document.querySelectorAll('.answers li')[1].textContent.match(/\\d+/)[0])"
    first = int(await check.evaluate(seconds))
    await until(check, f"{seconds} > {first + 1}", expected=True)
    assert await check.get_by_role("status").text_content() == spoken
    await take(check, "install")
    await opened(context, shown.unlisted.declare("/bai-1", script % SITE, ""))
    await until(check, f"{ANSWERS}.length", 2)
    refused = (await check.evaluate(ANSWERS))[1]
    assert refused.startswith(
        "Seen from your address N s ago: not counted (origin). Add the page's origin"
    )
    assert f"'{shown.unlisted.base_url}' is not among the origins of site 'thanhxuan'" in refused
    await opened(context, shown.listed.declare("/bai-2", script % "thanhxuam", ""))
    await until(
        check, f"{ANSWERS}[1].includes('Set data-site in the snippet to thanhxuan.')", expected=True
    )


async def test_a_page_is_looked_at_without_a_script(shown: Shown, chromium: Browser) -> None:
    """The form answers with what the configuration says of the address, and a way to the page's own debug box."""
    context = await chromium.new_context(java_script_enabled=False)
    page = await opened(context, f"{shown.page}/install?lang=en")
    await page.get_by_label("The page's address").fill(f"{shown.listed.base_url}/tin-tuc/bai-1?x=1")
    await page.get_by_role("button", name="Check").click()
    text = await page.locator("#content").inner_text()
    assert f"{shown.listed.base_url} belongs to this site." in text
    assert "Counted as /tin-tuc/bai-1." in text
    link = await page.get_by_text("debug box").get_attribute("href")
    assert link == f"{shown.listed.base_url}/tin-tuc/bai-1?x=1#visit-counter-debug"
    await context.close()
