"""Whatever a page, a name or a correction is called, no form of an answer becomes more than it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.injection import CORPUS, check_csv, check_html, check_json, check_svg
from tests.support.logs import ZONE, view
from tests.unit.services.api.test_ledger import delta
from visits.counters import Metric
from visits.record import Span, View
from visits.window import local_day

NAME = " ".join(CORPUS)[:200]
SITE = "/v1/sites/demo"
TITLES = (NAME[:40],)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """An api whose site, pages and corrections are all called by the corpus."""
    made = Api(tmp_path, sites={"demo": {"name": NAME, "metric": "views"}})
    await made.log.open()
    await made.store.open()
    now = now_ms()
    await made.count(
        *[
            delta(f"delta-{n:04d}", metric=Metric.VIEWS, spans=(Span(n + 1),), who=text, why=text, evidence=text,
                  at=now - n * 60_000, received=now)
            for n, text in enumerate(CORPUS)
        ],
        *[record for n, text in enumerate(CORPUS) for record in views(text, 5 + n, now)],
    )  # fmt: skip
    yield made
    await made.part.close()
    await made.store.close()
    await made.log.close()


def views(text: str, n: int, now: int) -> list[View]:
    """Return views of a page that is called so; more for later texts, so that the ranking is known."""
    return [
        view(now, id=f"view-{n:03d}-{k:05d}", site="demo", page="/" + text, visitor=f"{k:016x}")
        for k in range(n)
    ]


async def body_of(api: Api, path: str, query: str = "", **headers: str) -> bytes:
    answer = await api.get(path, query, **headers)
    assert answer.status == 200, (path, query, answer.body[:200])
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.body


async def test_pages_of_the_site(api: Api) -> None:
    """The statistics page and the report show the most viewed pages, the latest corrections and the name as texts."""
    pages = tuple("/" + text for text in CORPUS[-20:])
    month = f"{local_day(now_ms(), ZONE):%Y-%m}"
    for query in ("", "lang=en&metric=visitors", f"month={month}", f"month={month}&lang=en"):
        html = await body_of(api, "/sites/demo", query)
        check_html(html, (*pages, *CORPUS[-20:], *TITLES))


async def test_the_install_help(api: Api) -> None:
    """What is asked about comes back as a text, or as the value of its field."""
    for text in CORPUS:
        for address in (text, "https://a.example/" + text, f"https://a.example/?{text}=1"):
            query = f"page={quote(address, safe='')}"
            html = await body_of(api, "/sites/demo/install", query)
            check_html(html, (address.strip(), *TITLES), also_links=("https://a.example/",))
        for header in ("host", "x_forwarded_proto"):
            if text.isascii():
                check_html(await body_of(api, "/sites/demo/install", **{header: text}), TITLES)


async def test_frame_fragment_and_image(api: Api) -> None:
    """A page's name in the address or in the Referer stays a value; the image's title holds it as a text."""
    for text in CORPUS:
        page = quote("/" + text, safe="")
        check_html(await body_of(api, "/embed/demo", f"page={page}"), TITLES)
        check_svg(await body_of_image(api, f"page={page}"), "Lượt xem")
        if text.isascii():
            check_html(await body_of(api, "/embed/demo", referer="https://a.example/" + text), ())
        query = quote(text, safe="")
        for path in ("/embed/demo", f"{SITE}/badge.svg", f"{SITE}/fragment.html", "/sites/demo"):
            assert (await api.get(path, f"lang={query}")).status == 400, path
    fragment = (await body_of(api, f"{SITE}/fragment.html")).decode()
    assert "<script" not in fragment


async def body_of_image(api: Api, query: str) -> bytes:
    answer = await api.get(f"{SITE}/badge.svg", query)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    return answer.body


async def test_tables(api: Api) -> None:
    """No cell is a formula, in any table; quotes, commas and line ends stay within their cells."""
    check_csv(await body_of(api, f"{SITE}/pages/top", "format=csv&limit=100"), CORPUS, behind="/")
    check_csv(await body_of(api, f"{SITE}/ledger", "format=csv"), CORPUS)
    for path in ("history", "balance"):
        check_csv(await body_of(api, f"{SITE}/{path}", "format=csv"), ())


async def test_json(api: Api) -> None:
    """Texts come out as they went in, under a type that no browser takes for a page."""
    pages = tuple("/" + text for text in CORPUS)
    for path, query, texts in (
        ("pages/top", "limit=100", pages),
        ("ledger", "", CORPUS),
        ("pages", "&".join(f"page={quote(page, safe='')}" for page in pages), pages),
    ):
        answer = await api.get(f"{SITE}/{path}", query)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        check_json(answer.body, texts)
    body = await body_of(api, "/v1/definitions", "site=demo")
    check_json(body, (NAME,))
