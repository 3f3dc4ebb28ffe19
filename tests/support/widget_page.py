"""A portal page that carries the widget, in a real Chromium, on the product's own services."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Frame,
    Page,
    Request,
    Route,
)

from tests.support.browser import open_browser
from tests.support.load import HUMAN
from tests.support.process import http_get
from tests.support.visit_counter import Service, write_config

SITES_MAX = 100
"""Each test of a module counts into a site of its own, so that one system serves them all."""

PANEL = "((document.querySelector('visit-counter').shadowRoot || document).querySelector('[part=panel]') || {}).innerText"
"""The text of the page's first counter; undefined while there is no panel yet."""

TEXTS = "Array.from(document.querySelectorAll('visit-counter'), one => one.shadowRoot.textContent)"
WAIT_SECONDS = 15
STAY_SECONDS = 0.3
"""How long a total must stay: the widget looks every 0.2 s whether there is a view to send."""


SHIFTS = """window.shifts = []; new PerformanceObserver(
  list => list.getEntries().forEach(entry => shifts.push(entry.value))
).observe({type: 'layout-shift', buffered: true})"""
"""Notes in `shifts` whatever on the page moves without the reader's doing (Layout Instability API)."""

in_one_loop = pytest.mark.asyncio(loop_scope="module")
"""Marks a module whose tests share a browser and a system: `pytestmark = in_one_loop`."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """All three services on the embedded pair, for the tests of a module."""
    folder = tmp_path_factory.mktemp("portal")
    url = f"sqlite:{folder / 'data' / 'visit-counter.db'}"
    sites: dict[str, dict[str, object]] = {
        f"portal-{number}": {"metric": "views"} for number in range(SITES_MAX)
    }
    sites["english"] = {"lang": "en", "metric": "views"}
    sites["stored"] = {"metric": "visitors", "identity": "storage"}
    sites["elsewhere"] = {"origins": ["https://elsewhere.example"]}
    config = write_config(folder / "visit-counter.toml", url, url, sites)
    service = Service("up", config, directory=folder)
    service.start()
    yield service
    service.kill()


@pytest.fixture(scope="module")
def unused_sites() -> Iterator[str]:
    """The sites of `up` that no test has counted into."""
    return (f"portal-{number}" for number in range(SITES_MAX))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """One Chromium for the tests of a module."""
    async with open_browser() as opened:
        yield opened


class Portal:
    """Pages that carry the widget, on the services' own origin, with what they sent and said."""

    def __init__(self, site: str, context: BrowserContext, page: Page, base_url: str) -> None:
        self.site = site
        self.context = context
        self.page = page
        self.base_url = base_url
        self.bodies: dict[str, tuple[str, dict[str, str]]] = {}
        self.views: list[dict[str, Any]] = []
        self.reads: list[str] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []

    async def open(
        self,
        address: str,
        body: str,
        *,
        head: str | None = None,
        csp: str | None = None,
        path: str | None = None,
    ) -> None:
        """Serve a page and go there; `path` where the address has a query or a fragment."""
        self.declare(path or address, body, head=head, csp=csp)
        await self.page.goto(self.base_url + address)

    async def view_from_elsewhere(self) -> None:
        """Count another reader's view of the site."""
        body = json.dumps({"site": self.site, "page": "/elsewhere"}).encode()
        headers = {"User-Agent": HUMAN + " Elsewhere"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.base_url}/v1/views", data=body) as answer,
        ):
            assert answer.status == HTTPStatus.ACCEPTED

    async def come_from_elsewhere(self) -> None:
        """Let views be sent as a page of another host sends them: not of the counter's own origin."""

        async def send(route: Route) -> None:
            headers = await route.request.all_headers()
            await route.fulfill(
                response=await route.fetch(headers=headers | {"sec-fetch-site": "cross-site"})
            )

        await self.page.route("**/v1/views", send)

    async def leave_and_return(self) -> None:
        """Hide the page and show it again, as switching tabs does."""
        await self.page.evaluate(
            "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
            "document.dispatchEvent(new Event('visibilitychange')); delete document.hidden;"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    async def script(self) -> bytes:
        """Return the widget as it is served."""
        return (await asyncio.to_thread(http_get, f"{self.base_url}/widget/v1.js"))[1]

    def declare(
        self, path: str, body: str, *, head: str | None = None, csp: str | None = None
    ) -> None:
        """Serve a page under a path."""
        script = f'<script async src="/widget/v1.js" data-site="{self.site}"></script>'
        html = f'<!doctype html><html lang="vi"><meta charset="utf-8"><title>t</title>{script if head is None else head}{body}'
        headers = {} if csp is None else {"Content-Security-Policy": csp}
        self.bodies[path] = (html, headers)

    async def serve(self, route: Route) -> None:
        """Answer with a declared page, or pass on to the service."""
        path = urlsplit(route.request.url).path
        if route.request.is_navigation_request() and path in self.bodies:
            html, headers = self.bodies[path]
            await route.fulfill(body=html, content_type="text/html", headers=headers)
        else:
            await route.continue_()

    async def until(self, expression: str, expected: object) -> None:
        """Wait until a script's value in the page is this one."""
        await until(self.page, expression, expected)

    def total(self, site: str | None = None) -> int:
        """Return a site's views as the api says them."""
        return total_of(self.base_url, site or self.site)

    def read(self, query: str, site: str | None = None) -> dict[str, Any]:
        """Return a site's counters as the api says them."""
        url = f"{self.base_url}/v1/sites/{site or self.site}/counters?{query}"
        found: dict[str, Any] = json.loads(http_get(url)[1])
        return found

    async def settle(self, total: int, site: str | None = None) -> None:
        """Wait for a site's total, then see that it stays."""
        found = await settled(self.base_url, site or self.site, total)
        assert found == total, f"{found} views, not {total}; sent: {self.views}"


def total_of(base_url: str, site: str, metric: str = "views") -> int:
    """Return a site's total as the api says it."""
    answer = http_get(f"{base_url}/v1/sites/{site}/counters?metric={metric}")[1]
    return int(json.loads(answer)["total"])


async def settled(base_url: str, site: str, total: int) -> int:
    """Wait for a site's total of views, then a moment longer, and return it."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if await asyncio.to_thread(total_of, base_url, site) == total:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(STAY_SECONDS)
    return await asyncio.to_thread(total_of, base_url, site)


async def until(page: Page | Frame, expression: str, expected: object) -> None:
    """Wait until a script's value is this one; Playwright's own waiting needs a policy that lets strings be run."""
    end = time.monotonic() + WAIT_SECONDS
    value: object = None
    while time.monotonic() < end:
        value = await page.evaluate(expression)
        if value == expected:
            return
        await asyncio.sleep(0.05)
    assert value == expected, f"{expression} is {value!r}, not {expected!r}"


@pytest_asyncio.fixture(loop_scope="module")
async def portal(
    up: Service, chromium: Browser, unused_sites: Iterator[str]
) -> AsyncIterator[Portal]:
    """A page that serves what a test declares and notes what the widget sends."""
    context = await chromium.new_context(user_agent=HUMAN)
    page = await context.new_page()
    portal = Portal(next(unused_sites), context, page, up.base_url)

    def note(request: Request) -> None:
        path = urlsplit(request.url).path
        if path == "/v1/views":
            portal.views.append(json.loads(request.post_data or ""))
        elif path.startswith("/v1/sites/") and not path.endswith("/stream"):
            portal.reads.append(request.url)

    def hear(message: ConsoleMessage) -> None:
        if message.type == "warning":
            portal.warnings.append(message.text)

    page.on("request", note)
    page.on("pageerror", lambda error: portal.problems.append(str(error)))
    page.on("console", hear)
    await page.route("**/*", portal.serve)
    yield portal
    assert portal.problems == []
    # What a test's own route is still fetching ends with the page.
    await page.unroute_all(behavior="ignoreErrors")
    await context.close()
