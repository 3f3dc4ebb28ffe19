"""The install help of a site: the snippet by kind of system, what the configuration says of a page, and a live check in the browser.

The api does not see what ingest takes. So the page tells what the configuration says of an address (the same for both), and its script
asks ingest itself: whether this browser's views arrive, and what became of the last ones (`GET /v1/views/recent`).
"""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl

from fastapi import Query, Request, Response

from services.api.install_words import FINDINGS, LIVE, RECIPES, WORDS
from services.api.parameter import LangName
from services.api.reading import Readings
from services.api.rendering import HTML_TYPE, render
from services.runtime.origin import WILDCARD, declared_origin
from services.runtime.panel import Language
from services.runtime.site import Site
from visits.errors import PageError
from visits.page import OTHER

ADDRESS_LENGTH_MAX = 2_000
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
LOOPBACK = re.compile(r"(localhost|127\.[\d.]+|\[::1\])(:\d+)?")
EXAMPLE = "counter.example"
HEADERS = {
    # Made for the one who asks: the address he came by stands in it.
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Finding(NamedTuple):
    """What is said of a page: whether it is well, and a sentence."""

    is_good: bool
    text: str


class InstallRoutes:
    """The install help."""

    def __init__(self, readings: Readings) -> None:
        """Take the configuration."""
        self._readings = readings

    async def install(
        self,
        request: Request,
        site: str,
        page: Annotated[
            str | None,
            Query(max_length=ADDRESS_LENGTH_MAX, description="the address of a page to look at"),
        ] = None,
        lang: LangName = None,
    ) -> Response:
        """Help to put the counter on a portal: the snippet, what is said of a page, and a live check."""
        declared = self._readings.site(site)
        tongue = lang or declared.settings.lang
        base = base_url(request)
        asked = (page or "").strip()
        html = render(
            "install.html",
            lang=tongue,
            site=declared,
            title=declared.settings.name or site,
            words=WORDS[tongue],
            live=LIVE[tongue],
            recipes=RECIPES,
            base=base,
            origin="/".join(base.split("/")[:3]),
            page=asked,
            findings=findings(declared, asked, base, tongue) if asked else [],
            is_address=origin_of(asked) is not None,
        )
        return Response(html, media_type=HTML_TYPE, headers=HEADERS)


def base_url(request: Request) -> str:
    """Return the address of this service as the browser has it, without a slash at its end."""
    host = request.headers.get("host", "")
    if not HOST.fullmatch(host):
        host = EXAMPLE
    # The page is for the one who asks alone: who forges the header deceives himself.
    is_secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    scheme = "https" if is_secure or host == EXAMPLE else "http"
    return f"{scheme}://{host}{request.scope.get('root_path', '')}"


def findings(site: Site, address: str, base: str, lang: Language) -> list[Finding]:
    """Return what ingest would say of a view of the page at an address, and why."""
    words = FINDINGS[lang]
    origin = origin_of(address)
    if origin is None:
        return [Finding(False, words["no_url"])]
    found = []
    if site.settings.closed:
        found.append(Finding(False, words["closed"]))
    if not site.settings.origins:
        found.append(Finding(True, words["origin_any"].format(origin=origin)))
    elif site.allows_origin(origin):
        found.append(Finding(True, words["origin"].format(origin=origin)))
    else:
        found.append(Finding(False, words["origin_bad"].format(origin=origin, site=site.id)))
    found += _page_findings(site, address, lang)
    host = base.partition("://")[2].partition("/")[0]
    if origin.startswith("https:") and base.startswith("http:") and not LOOPBACK.fullmatch(host):
        found.append(Finding(False, words["mixed"]))
    return found


def _page_findings(site: Site, address: str, lang: Language) -> list[Finding]:
    """Return what page the address is, and which of its parameters do not matter."""
    words = FINDINGS[lang]
    try:
        page = site.page(address)
    except PageError as error:
        return [Finding(False, words["page_bad"].format(why=error))]
    if page == OTHER:
        return [Finding(False, words["page_other"])]
    found = [Finding(True, words["page"].format(page=page))]
    # What is left of the query stands in the page's name, as the site spells it.
    kept = {name.lower() for name in _parameters(page)}
    dropped = [name for name in _parameters(address) if name.lower() not in kept]
    if dropped:
        found.append(Finding(True, words["dropped"].format(names=", ".join(dropped))))
    return found


def _parameters(address: str) -> list[str]:
    """Return the names of an address's parameters."""
    query = address.partition("#")[0].partition("?")[2]
    return sorted({name for name, _ in parse_qsl(query, keep_blank_values=True)})


def origin_of(address: str) -> str | None:
    """Return the origin of a page's absolute address as browsers send it; `None` for what is no such address."""
    scheme, found, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not found or WILDCARD in host:
        return None
    try:
        return declared_origin(f"{scheme}://{host}")
    except ValueError:
        return None
