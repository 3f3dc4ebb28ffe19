"""A portal's own web server: pages of another origin than the counter's, over real HTTP, past every interception."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from tests.support.ports import LOOPBACK


class WebSite:
    """Serves the pages it was given."""

    def __init__(self) -> None:
        """Begin with no page."""
        self.base_url = ""
        self.asked: list[str] = []
        self._pages: dict[str, tuple[str, dict[str, str]]] = {}

    def declare(
        self, path: str, head: str, body: str, headers: Mapping[str, str] | None = None
    ) -> str:
        """Serve a page from now on and return its address."""
        html = f'<!doctype html><html lang="vi"><meta charset="utf-8"><title>t</title>{head}{body}'
        self._pages[path] = (html, dict(headers or {}))
        return self.base_url + path

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request, and note its path and query."""
        self.asked.append(request.path_qs)
        found = self._pages.get(request.path)
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found[0], content_type="text/html", headers=found[1])


@asynccontextmanager
async def open_web_site() -> AsyncIterator[WebSite]:
    """Start a server and stop it at the end."""
    site = WebSite()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    site.base_url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()
