"""Pictures of pages for README and docs: always taken, written to `docs/images` only when asked (`make pictures`)."""

from __future__ import annotations

import os

from playwright.async_api import Locator, Page

from tests.support.visit_counter import REPOSITORY

ASKED = "VISIT_COUNTER_PICTURES"
"""The variable of the environment that asks for them."""

IMAGES = REPOSITORY / "docs" / "images"
PNG = b"\x89PNG"


async def take(target: Page | Locator, name: str) -> None:
    """Take a picture of a page or of a part of it, as `docs/images/NAME.png` where that is asked for."""
    content = await target.screenshot()
    assert content.startswith(PNG)
    if os.environ.get(ASKED):
        (IMAGES / f"{name}.png").write_bytes(content)
