"""The harness opens pages in a real browser."""

from __future__ import annotations

from playwright.async_api import Browser


async def test_the_browser_renders_vietnamese(browser: Browser) -> None:
    """A page's text is read back, and its letters are drawn by a font that has them."""
    page = await browser.new_page()
    await page.set_content("<p>Thống kê truy cập: lượt xem, tự động</p>")
    assert await page.inner_text("p") == "Thống kê truy cập: lượt xem, tự động"
    # A missing glyph is drawn as a box of the font's own width, alike for any missing letter.
    width = (
        "text => { const c = document.createElement('canvas').getContext('2d');"
        " c.font = '40px sans-serif'; return c.measureText(text).width; }"
    )
    assert await page.evaluate(width, "ự") != await page.evaluate(width, "\U0010fffd")
