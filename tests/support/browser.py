"""A real Chromium of the system, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests.support.process import ProcessError

PROGRAMS = ("chromium", "google-chrome", "chromium-browser")

# No sandbox: tests run as root in containers and open only our own pages. The rest keeps the
# browser from talking to anything but the page.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


def browser_path() -> str:
    """Return the path of the system's Chromium or Chrome.

    Raises:
        ProcessError: there is none.
    """
    for name in PROGRAMS:
        path = shutil.which(name)
        if path is not None:
            return path
    message = "no Chromium found: run scripts/test-tools.sh"
    raise ProcessError(message)


@asynccontextmanager
async def open_browser(*, keeps_pages: bool = False) -> AsyncIterator[Browser]:
    """Start a browser and close it at the end; one belongs to one event loop.

    Args:
        keeps_pages: the back/forward cache is on, as readers have it; Playwright turns it off for its interceptions' sake.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=browser_path(),
            args=list(ARGUMENTS),
            ignore_default_args=["--disable-back-forward-cache"] if keeps_pages else None,
        )
        try:
            yield browser
        finally:
            await browser.close()
