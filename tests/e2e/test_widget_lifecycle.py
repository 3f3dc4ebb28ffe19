"""The widget on a portal of another origin, in a real Chromium, nothing intercepted: policies, kept and prepared pages, failures."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Request

import widget
from tests.support.browser import ARGUMENTS, browser_path, open_browser
from tests.support.load import HUMAN
from tests.support.ports import free_port
from tests.support.process import Process
from tests.support.visit_counter import Service
from tests.support.web_site import WebSite, open_web_site
from tests.support.widget_page import PANEL, WAIT_SECONDS, in_one_loop, settled, total_of, until

pytestmark = in_one_loop

TOTAL = f"{PANEL}.split('\\n').pop()"


class Visit:
    """One reader's tab on the portal, with the views that left it."""

    def __init__(self, site: str, up: Service, web: WebSite, page: Page) -> None:
        self.site = site
        self.counter = up.base_url
        self.web = web
        self.page = page
        self.sent: list[Request] = []
        self.problems: list[str] = []

    @property
    def script(self) -> str:
        """The snippet as the portal has it."""
        return f'<script async src="{self.counter}/widget/v1.js" data-site="{self.site}"></script>'

    @property
    def views(self) -> list[dict[str, Any]]:
        """What was sent."""
        return [json.loads(request.post_data or "") for request in self.sent]

    async def settle(self, total: int) -> None:
        """Wait for the site's total of views, then see that it stays."""
        assert await settled(self.counter, self.site, total) == total, self.views


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keeping() -> AsyncIterator[Browser]:
    """A Chromium that keeps left pages, as readers have it."""
    async with open_browser(keeps_pages=True) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web() -> AsyncIterator[WebSite]:
    """The portal."""
    async with open_web_site() as opened:
        yield opened


async def open_visit(context: BrowserContext, site: str, up: Service, web: WebSite) -> Visit:
    visit = Visit(site, up, web, await context.new_page())
    note_views(context, visit)
    visit.page.on("pageerror", lambda error: visit.problems.append(str(error)))
    return visit


def note_views(context: BrowserContext, visit: Visit) -> None:
    """Note every view and ping that leaves a browser from now on."""

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/views"):
            visit.sent.append(request)

    context.on("request", note)


@pytest_asyncio.fixture(loop_scope="module")
async def visit(
    keeping: Browser, up: Service, web: WebSite, unused_sites: Iterator[str]
) -> AsyncIterator[Visit]:
    """A reader who opens the portal; no script may throw."""
    context = await keeping.new_context(user_agent=HUMAN)
    opened = await open_visit(context, next(unused_sites), up, web)
    yield opened
    assert opened.problems == []
    await context.close()


async def test_the_versioned_file_under_a_strict_policy_and_its_hash(visit: Visit) -> None:
    """With an integrity hash, and a policy that allows the counter's host alone, the panel counts, shows and is styled."""
    url = f"{visit.counter}/widget/{widget.VERSION}/visit-counter.js"
    digest = base64.b64encode(hashlib.sha384(widget.script()).digest()).decode()
    policy = {
        "Content-Security-Policy": f"default-src 'none'; script-src {visit.counter}; connect-src {visit.counter}; "
        "require-trusted-types-for 'script'"
    }
    body = "<visit-counter></visit-counter><visit-counter show=views>?</visit-counter>"
    for path, hash_of, counted in (("/sri", digest, 1), ("/bad-sri", digest[::-1], 1)):
        head = (
            f'<script async src="{url}" integrity="sha384-{hash_of}" crossorigin="anonymous"'
            f' data-site="{visit.site}"></script>'
        )
        await visit.page.goto(visit.web.declare(path, head, body, policy))
        await visit.settle(counted)
        if hash_of == digest:
            await until(visit.page, TOTAL, "Tổng số lượt xem: 1")
            inner = "document.querySelector('visit-counter').shadowRoot.querySelector('dt')"
            assert await visit.page.evaluate(f"getComputedStyle({inner}).display") == "inline"
    # The file that is not the one that was promised never ran: what stands inside stays.
    assert await visit.page.locator("visit-counter").nth(1).inner_text() == "?"


async def test_a_view_is_sent_as_plainly_as_can_be(visit: Visit) -> None:
    """As text, without cookies, to outlive its page; the first number is asked for beside it, cacheable, the second after it."""
    await visit.page.context.add_cookies([{"name": "a", "value": "b", "url": visit.counter}])
    await visit.page.add_init_script(
        "window.asked = []; const send = fetch;"
        "window.fetch = (url, options) => { asked.push([url, options]); return send(url, options); }"
    )
    await visit.page.goto(visit.web.declare("/a", visit.script, "<visit-counter></visit-counter>"))
    await visit.settle(1)
    headers = await visit.sent[0].all_headers()
    assert headers["content-type"].startswith("text/plain")
    assert "cookie" not in headers
    asked = await visit.page.evaluate("asked")
    read, view, after = [(url.removeprefix(visit.counter), options) for url, options in asked]
    assert view[0] == "/v1/views"
    assert view[1]["keepalive"]
    assert {options["credentials"] for _, options in (read, view, after)} == {"omit"}
    assert read[0] == f"/v1/sites/{visit.site}/counters?"
    assert read[1].get("cache") is None
    assert after[0].startswith(f"{read[0]}after=0:")
    # Nothing is added to the cookies of this host, and nothing is kept in the browser.
    assert await visit.page.evaluate("document.cookie + JSON.stringify(localStorage)") == "a=b{}"


async def test_a_page_kept_and_brought_back_counts_again(visit: Visit) -> None:
    """From the browser's cache of left pages: the same document, another view with another id, no entry; its numbers go on."""
    body = "<visit-counter></visit-counter>"
    first = visit.web.declare("/first", visit.script, body)
    await visit.page.goto(first)
    await visit.settle(1)
    await visit.page.evaluate("window.mark = 'kept'")
    visit.web.declare("/second", visit.script, body)
    await visit.page.evaluate("location.href = '/second'")
    await visit.settle(2)
    await visit.page.go_back(wait_until="commit")
    assert await visit.page.evaluate("window.mark") == "kept", "the page was loaded anew"
    await visit.settle(3)
    assert [view["page"] for view in visit.views] == ["/first", "/second", "/first"]
    assert [view["entry"] for view in visit.views] == [True, False, False]
    assert len({view["id"] for view in visit.views}) == 3
    await until(visit.page, TOTAL, "Tổng số lượt xem: 3")


async def test_a_prepared_page_counts_when_it_is_shown(
    up: Service, web: WebSite, unused_sites: Iterator[str], tmp_path: Path
) -> None:
    """A page that the browser prerenders sends and reads nothing; once the reader goes there it is one view.

    Chromium prepares no page that a tool is attached to, so this one runs by itself and tells the portal's server how it stands.
    """
    site = next(unused_sites)
    rules = json.dumps({"prerender": [{"urls": ["/prepared"], "eagerness": "immediate"}]})
    go = "setInterval(async () => { if ((await fetch('/go')).ok) location.href = '/prepared'; }, 100)"
    tell = (
        "const [entry] = performance.getEntriesByType('navigation');"
        "setInterval(() => fetch(`/state?${document.prerendering}&${entry.activationStart > 0}`), 100)"
    )
    script = f'<script async src="{up.base_url}/widget/v1.js" data-site="{site}"></script>'
    panel = "<visit-counter></visit-counter>"
    web.declare("/prepared", f"{script}<script>{tell}</script>", panel)
    start = web.declare(
        "/start", f'<script type="speculationrules">{rules}</script><script>{go}</script>', ""
    )
    flags = (
        "--remote-debugging-port=0",
        f"--user-agent={HUMAN}",
        f"--user-data-dir={tmp_path / 'profile'}",
    )
    log_path = tmp_path / "chromium.log"
    with Process([browser_path(), *ARGUMENTS, *flags, start], name="chromium", log_path=log_path):
        await come(web, "/state?true&false")
        # The widget looks every 200 ms whether it is seen.
        await asyncio.sleep(1)
        assert await settled(up.base_url, site, 0) == 0
        web.declare("/go", "", "")
        await come(web, "/state?false&true")
        assert await settled(up.base_url, site, 1) == 1


async def come(web: WebSite, address: str) -> None:
    """Wait until the portal was asked for an address."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if address in web.asked:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{address} was not asked for: {web.asked}")


async def test_without_scripts_the_image_counts(
    keeping: Browser, up: Service, web: WebSite, unused_sites: Iterator[str]
) -> None:
    """A reader without scripts is counted by the image in `noscript`, and reads what stands inside the element."""
    context = await keeping.new_context(user_agent=HUMAN, java_script_enabled=False)
    visit = await open_visit(context, next(unused_sites), up, web)
    image = f'<noscript><img src="{up.base_url}/v1/views.gif?site={visit.site}&page=/a" alt=""></noscript>'
    body = f"<visit-counter>chưa có số</visit-counter>{image}"
    await visit.page.goto(web.declare("/a", visit.script, body))
    await visit.settle(1)
    assert (await visit.page.inner_text("visit-counter")) == "chưa có số"
    await visit.page.goto(f"{up.base_url}/embed/{visit.site}?page=/b")
    await visit.settle(2)
    await context.close()


async def test_browsers_without_custom_elements_keep_the_fallback(visit: Visit) -> None:
    """Nothing is thrown, and what stands inside stays."""
    await visit.page.add_init_script("delete window.customElements")
    address = visit.web.declare("/a", visit.script, "<visit-counter>chưa có số</visit-counter>")
    await visit.page.goto(address)
    assert await visit.page.evaluate("typeof customElements") == "undefined"
    assert (await visit.page.inner_text("visit-counter")) == "chưa có số"


async def test_a_host_that_refuses_leaves_the_page_alone(visit: Visit) -> None:
    """No script, or a script whose service has gone: the page is as it was, nothing is thrown, no number is invented."""
    closed = f"http://127.0.0.1:{free_port()}"
    body = "<visit-counter>chưa có số</visit-counter><visit-counter></visit-counter>"
    script = visit.script.replace(visit.counter, closed)
    await visit.page.goto(visit.web.declare("/no-script", script, body))
    assert await visit.page.evaluate("document.readyState") == "complete"
    assert await visit.page.inner_text("body") == "chưa có số"
    await visit.page.route(
        f"{closed}/widget/v1.js",
        lambda route: route.fulfill(body=widget.script(), content_type="text/javascript"),
    )
    await visit.page.goto(visit.web.declare("/no-service", script, body))
    await until(visit.page, "!!customElements.get('visit-counter')", expected=True)
    await asyncio.sleep(1)
    shown = "document.querySelectorAll('visit-counter')[1].shadowRoot.querySelector('[part=panel]').innerText"
    assert "Đang online: –" in await visit.page.evaluate(shown)
    assert " 0" not in await visit.page.evaluate(shown)
    assert "chưa có số" in await visit.page.inner_text("body")


async def test_a_late_script_keeps_a_black_hole_off_the_load(visit: Visit) -> None:
    """Inserted after `load`, as docs/widget.md shows, the script delays nothing, even from a host that never answers; and it counts."""
    late = (
        "<script>addEventListener('load', () => document.head.appendChild(Object.assign("
        "document.createElement('script'), {src: 'BASE/widget/v1.js'})).dataset.site = 'SITE')</script>"
    )
    with socket.create_server(("127.0.0.1", 0)) as hole:
        base = f"http://127.0.0.1:{hole.getsockname()[1]}"
        head = late.replace("BASE", base).replace("SITE", visit.site)
        await visit.page.goto(visit.web.declare("/hole", head, "<visit-counter>?</visit-counter>"))
        assert await visit.page.evaluate("document.readyState") == "complete"
        assert await visit.page.inner_text("visit-counter") == "?"
    head = late.replace("BASE", visit.counter).replace("SITE", visit.site)
    await visit.page.goto(visit.web.declare("/late", head, "<visit-counter></visit-counter>"))
    await visit.settle(1)


async def test_a_browser_keeps_an_id_only_where_the_site_says_so(
    visit: Visit, keeping: Browser
) -> None:
    """Two browsers alike behind one address are two visitors of `identity = "storage"`, each of them one on every page and in its pings."""
    visit.site = "stored"
    body = "<visit-counter></visit-counter>"
    kept = []
    for number in (1, 2):
        context = await keeping.new_context(user_agent=HUMAN)
        page = await context.new_page()
        await page.clock.install()
        before = len(visit.views)
        note_views(context, visit)
        for path in ("/a", "/b"):
            await page.goto(visit.web.declare(path, visit.script, body))
            await page.clock.run_for(1_000)
            await until(page, "!!visitCounter.count.last", expected=True)
        await page.clock.run_for(121_000)
        name = await page.evaluate("localStorage['visit-counter']")
        assert len(name) >= 16
        sent = visit.views[before:]
        assert [view.get("visitor") for view in sent] == [None, name, name]
        assert sent[2]["kind"] == "ping"
        assert total_of(visit.counter, "stored", "visitors") == number
        kept.append(name)
        await context.close()
    assert kept[0] != kept[1]
