"""The numbers for pages that cannot run the widget: an image, a fragment to include, a page to frame."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from fastapi import Query, Request, Response

from services.api.answer import conditional
from services.api.parameter import LangName, MetricName, WindowsName
from services.api.reading import Answer, Readings, Rendered, named_page, tag_of
from services.api.rendering import HTML_TYPE, SVG_TYPE, render
from services.runtime.panel import CAPTION, VIEWS, Language, label, note, panel_lines
from services.runtime.site import Site
from visits.counters import Metric
from visits.errors import PageError
from visits.window import Windows

CHARACTER_WIDTH = 6.4
"""About the mean width in pixels of Verdana at 11; `textLength` fits the text exactly."""

ANYWHERE = {"Cross-Origin-Resource-Policy": "cross-origin"}
EMBED_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors "
)
CounterName = Literal["online", "today", "yesterday", "week", "month", "year", "total"]


class Theme(NamedTuple):
    """Colours of a badge; text on its ground has a contrast of at least 4.5 (WCAG 1.4.3)."""

    left: str
    right: str
    ink_left: str
    ink_right: str


THEMES = {
    "red": Theme("#4a4a4a", "#9b1c1c", "#ffffff", "#ffffff"),
    "blue": Theme("#4a4a4a", "#0b57a4", "#ffffff", "#ffffff"),
    "light": Theme("#e6e6e6", "#ffffff", "#1b2733", "#1b2733"),
    "dark": Theme("#12181f", "#2a3644", "#e7edf3", "#ffffff"),
}
ThemeName = Literal["red", "blue", "light", "dark"]


class EmbedRoutes:
    """Badge, fragment and frame of a site."""

    def __init__(self, readings: Readings) -> None:
        """Take what reads."""
        self._readings = readings

    async def badge(
        self,
        request: Request,
        site: str,
        counter: CounterName = "total",
        page: Annotated[str | None, Query(description="a page: its views instead")] = None,
        metric: MetricName = None,
        windows: WindowsName = None,
        lang: LangName = None,
        theme: ThemeName = "red",
    ) -> Response:
        """Draw one number as an SVG image with its label, for pages where nothing else is allowed."""
        declared = self._readings.site(site)
        tongue = lang or declared.settings.lang
        if page is None:
            rendered, chosen, _ = await self._numbers(declared, metric, windows)
            told, value = label(counter, chosen, tongue), str(rendered.answer.numbers[counter])
        else:
            [views], _ = await self._readings.pages(declared, [named_page(declared, page)])
            told, value = VIEWS[tongue], "–" if views is None else str(views)
        left, right = _width(told), _width(value)
        image = render(
            "badge.svg",
            label=told,
            value=value,
            left=left,
            right=right,
            width=left + right,
            theme=THEMES[theme],
        )
        return conditional(request, image, SVG_TYPE, tag_of(image.decode()), **ANYWHERE)

    async def fragment(
        self,
        request: Request,
        site: str,
        metric: MetricName = None,
        windows: WindowsName = None,
        lang: LangName = None,
    ) -> Response:
        """Write the panel as plain HTML without script or style, for server-side and edge-side includes."""
        declared = self._readings.site(site)
        rendered, chosen, cut = await self._numbers(declared, metric, windows)
        tongue = lang or declared.settings.lang
        html = render("fragment.html", **_panel(declared, rendered.answer, chosen, cut, tongue))
        tag = tag_of(f"{tongue}{rendered.tag}")
        return conditional(request, html, HTML_TYPE, tag, **ANYWHERE)

    async def embed(
        self,
        request: Request,
        site: str,
        page: Annotated[
            str | None, Query(description="the page that shows the frame: counted under it")
        ] = None,
        metric: MetricName = None,
        windows: WindowsName = None,
        lang: LangName = None,
    ) -> Response:
        """Show the panel as a page of its own, to be framed by the site's origins and by nobody else."""
        declared = self._readings.site(site)
        rendered, chosen, cut = await self._numbers(declared, metric, windows)
        tongue = lang or declared.settings.lang
        framed = page or request.headers.get("referer", "")
        html = render(
            "embed.html",
            site=declared,
            page=framed if _is_page(declared, framed) else "",
            metric=metric or "",
            windows=windows or "",
            **_panel(declared, rendered.answer, chosen, cut, tongue),
        )
        return Response(html, media_type=HTML_TYPE, headers=frame_headers(declared))

    async def _numbers(
        self, site: Site, metric: Metric | None, windows: Windows | None
    ) -> tuple[Rendered, Metric, Windows]:
        chosen, cut = metric or site.settings.metric, windows or site.settings.windows
        return await self._readings.rendered(site, chosen, cut), chosen, cut


def frame_headers(site: Site) -> dict[str, str]:
    """Return the headers of a page that only the site's origins may frame; anybody where it names none."""
    ancestors = " ".join(site.settings.origins) or "*"
    return {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": EMBED_POLICY + ancestors,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _panel(
    site: Site, answer: Answer, metric: Metric, windows: Windows, lang: Language
) -> dict[str, object]:
    """Return what the fragment's template wants."""
    return {
        "lang": lang,
        "caption": CAPTION[lang],
        "lines": panel_lines(answer.numbers, metric, lang),
        "note": note(windows, answer.as_of, site.zone, lang, stale=answer.stale),
    }


def _is_page(site: Site, address: str) -> bool:
    try:
        site.page(address)
    except PageError:
        return False
    return True


def _width(text: str) -> int:
    return round(len(text) * CHARACTER_WIDTH) + 10
