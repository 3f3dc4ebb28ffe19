"""A portal page that carries the widget, in a real Chromium, on the product's own services."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Frame,
    Page,
    Request,
    Route,
)

from tests.conftest import StartService
from tests.support.load import HUMAN
from tests.support.process import http_get
from tests.support.visit_counter import Service, write_config

SITE = "portal"
PANEL = "document.querySelector('visit-counter').shadowRoot.querySelector('[part=panel]').innerText"
TEXTS = "Array.from(document.querySelectorAll('visit-counter'), one => one.shadowRoot.textContent)"
WAIT_SECONDS = 15


@pytest.fixture
def up(tmp_path: Path, start_service: StartService) -> Service:
    """All three services on the embedded pair, with two sites, one of them for another origin."""
    url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    sites: dict[str, dict[str, object]] = {
        SITE: {"metric": "views"},
        "english": {"lang": "en", "metric": "views"},
        "elsewhere": {"origins": ["https://elsewhere.example"]},
    }
    config = write_config(tmp_path / "visit-counter.toml", url, url, sites)
    return start_service("up", config)


class Portal:
    """Pages that carry the widget, on the services' own origin, with what they sent and said."""

    def __init__(self, context: BrowserContext, page: Page, base_url: str) -> None:
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
        body = json.dumps({"site": SITE, "page": "/elsewhere"}).encode()
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
        script = f'<script async src="/widget/v1.js" data-site="{SITE}"></script>'
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

    async def until(self, expression: str, expected: object, *, frame: Frame | None = None) -> None:
        """Wait until a script's value, in the page or one of its frames, is this one.

        Playwright's own `wait_for_function` does not work under a policy without `unsafe-eval`, unless the value is there at once.
        """
        end = time.monotonic() + WAIT_SECONDS
        value: object = None
        while time.monotonic() < end:
            value = await (frame or self.page).evaluate(expression)
            if value == expected:
                return
            await asyncio.sleep(0.05)
        assert value == expected, f"{expression} is {value!r}, not {expected!r}"

    def total(self, site: str = SITE) -> int:
        """Return a site's views as the api says them."""
        return int(self.read("metric=views", site)["total"])

    def read(self, query: str, site: str = SITE) -> dict[str, Any]:
        """Return a site's counters as the api says them."""
        url = f"{self.base_url}/v1/sites/{site}/counters?{query}"
        found: dict[str, Any] = json.loads(http_get(url)[1])
        return found

    async def settle(self, total: int, site: str = SITE) -> None:
        """Wait for a total, then see that it stays."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            if await asyncio.to_thread(self.total, site) == total:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        found = await asyncio.to_thread(self.total, site)
        assert found == total, f"{found} views, not {total}; sent: {self.views}"


@pytest.fixture
async def portal(up: Service, browser: Browser) -> AsyncIterator[Portal]:
    """A page that serves what a test declares and notes what the widget sends."""
    context = await browser.new_context(user_agent=HUMAN)
    page = await context.new_page()
    portal = Portal(context, page, up.base_url)

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
    await context.close()
