"""Which answers of a web server are no pages."""

from __future__ import annotations

import pytest

from visits.asset import is_asset


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tin-tuc/bai-1",
        "/tin-tuc/bai-1/",
        "/index.html",
        "/Default.aspx",
        "/portal/home.do",
        "/bai-viet;jsessionid=0AF.css",
        "/gia-1.250.000",
        "/rss",
        "/.hidden",
        "/images/",
    ],
)
def test_pages(path: str) -> None:
    """What has no listed ending is a page."""
    assert not is_asset(path)


@pytest.mark.parametrize(
    "path",
    [
        "/a.png",
        "/A.PNG",
        "/theme/style.css",
        "/theme/style.css;jsessionid=1",
        "/robots.txt",
        "/favicon.ico",
        "/cong-van/01-2026.pdf",
        "/feed/",
        "/tin-tuc/feed",
        "/sitemap.xml",
        "/WebResource.axd",
        "/.well-known/security",
        "/a.js/",
    ],
)
def test_assets(path: str) -> None:
    """Images, scripts, styles, feeds, downloads and what programs fetch are none."""
    assert is_asset(path)
