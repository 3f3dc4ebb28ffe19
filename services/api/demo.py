"""The demo portal: a news list and its articles in two languages, as a portal would show them, with the counter on them.

Its texts stand in `widget/demo/portal.json`, what moves on it in `widget/demo/demo.js`. It works without a script, but for the counter.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import Response

import widget
from services.api.parameter import LangName
from services.api.rendering import HTML_TYPE, render
from services.runtime.panel import Language
from services.runtime.problem import ProblemError

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
FILES = {"demo.css": "text/css; charset=utf-8", "demo.js": "text/javascript; charset=utf-8"}
UNCACHED = {"Cache-Control": "no-cache"}


async def demo_page(path: str, lang: LangName = None) -> Response:
    """Return a page of the demo portal, or what the pages load."""
    if path in FILES:
        return Response(widget.demo_file(path), media_type=FILES[path], headers=UNCACHED)
    html = portal_page("/" + path, lang or "vi", datetime.now(ZONE).date())
    if html is None:
        raise ProblemError("not_found", f"the demo portal has no page /{path}", status=404)
    return Response(html, media_type=HTML_TYPE, headers=UNCACHED)


def portal_page(path: str, lang: Language, today: date) -> bytes | None:
    """Return the news list or an article; `None` for a path that the portal does not have.

    Args:
        path: as the browser asks for it.
        lang: of everything on the page.
        today: the day of the newest article; each other one is of the day before.
    """
    portal = _portal()
    news = portal["news"]
    days = {one["path"]: today - timedelta(days=index) for index, one in enumerate(news)}
    article = next((one for one in news if one["path"] == path), None)
    if article is None and path != "/":
        return None
    return render(
        "demo.html",
        lang=lang,
        other="vi" if lang == "en" else "en",
        words=portal["words"][lang],
        root="../" if article else "",
        article=article,
        article_day=days.get(path),
        news=news,
        news_days=[(one, days[one["path"]]) for one in news],
    )


@cache
def _portal() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(widget.demo_file("portal.json"))
    return found
