"""The install help: the snippet as it is to be pasted, and what is said of a page before anything is counted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from services.api.install_words import FINDINGS, LIVE, RECIPES, WORDS
from tests.support.api import Api
from tests.support.page_html import Html, check_page, check_policy
from visits.refusal import Refusal

PATH = "/sites/portal/install"
SITES: dict[str, dict[str, object]] = {
    "portal": {
        "name": "Cổng <b>",
        "origins": ["https://portal.example"],
        "pages": ["/tin-tuc/**"],
        "query_keys": ["id"],
    },
    "open": {"lang": "en"},
    "shut": {"closed": "2026-01-01"},
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """An api with an empty store: the help needs no numbers."""
    made = Api(tmp_path, sites=SITES)
    await made.log.open()
    await made.store.open()
    yield made
    await made.part.close()
    await made.store.close()
    await made.log.close()


async def page_of(api: Api, path: str = PATH, query: str = "", **headers: str) -> Html:
    answer = await api.get(path, query, **headers)
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    page = Html(answer.body)
    check_page(page)
    check_policy(page, answer.headers["content-security-policy"])
    return page


async def found(api: Api, address: str, path: str = PATH, **headers: str) -> list[tuple[str, str]]:
    """Return what is said of an address: good or bad, and the sentence."""
    page = await page_of(api, path, f"lang=en&page={quote(address, safe='')}", **headers)
    answers = [e for e in page.all("li") if "answer" in e.attributes.get("class", "")]
    return [(e.attributes["class"].split()[1], e.words.partition(": ")[2]) for e in answers]


async def test_the_snippet_names_this_server_and_this_site(api: Api) -> None:
    """As the browser came here: host, scheme behind a proxy; a host that is none is not repeated."""
    for headers, base in (
        ({"host": "counter.hanoi.gov.vn", "x_forwarded_proto": "https"}, "https://counter.hanoi.gov.vn"),
        ({"host": "127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"host": 'x"><script>'}, "https://counter.example"),
    ):  # fmt: skip
        page = await page_of(api, **headers)
        [snippet] = [e for e in page.all("code") if "pre" in e.parents]
        assert snippet.words == (
            f'<script async src="{base}/widget/v1.js" data-site="portal"></script> '
            '<visit-counter site="portal"></visit-counter> '
            '<visit-counter site="portal" show="views"></visit-counter>'
        )
        assert f"script-src {base}; connect-src {base}" in page.all("main")[0].words


async def test_every_system_has_its_place(api: Api) -> None:
    """Eight kinds of systems, in both languages, with the parameters that name an article."""
    for lang in ("vi", "en"):
        page = await page_of(api, query=f"lang={lang}")
        names = [e.words for e in page.all("h3")]
        assert names == [
            "DNN", "SharePoint", "WordPress", "Joomla", "Liferay", "NukeViet", "HTML", "SPA",
        ]  # fmt: skip
    assert 'query_keys = ["option", "view", "id"]' in page.all("main")[0].words
    assert all(recipe.vi and recipe.en for recipe in RECIPES)


async def test_a_page_of_the_portal_is_told_its_name(api: Api) -> None:
    """The origin belongs to the site, the page has its canonical name, and a parameter that was dropped is named."""
    address = "https://portal.example/tin-tuc//bai-1/?utm=x&id=5&sort=#top"
    assert await found(api, address) == [
        ("good", "https://portal.example belongs to this site."),
        ("good", "Counted as /tin-tuc/bai-1?id=5."),
        (
            "good",
            FINDINGS["en"]["dropped"].format(names="sort, utm"),
        ),
    ]
    page = await page_of(api, query=f"page={quote(address, safe='')}")
    links = [e.attributes["href"] for e in page.all("a")]
    assert "https://portal.example/tin-tuc//bai-1/?utm=x&id=5&sort=#visit-counter-debug" in links


async def test_an_address_is_known_as_a_browser_sends_it(api: Api) -> None:
    """Letters of other scripts, capitals and the scheme's own port do not matter, as they do not in an Origin."""
    for address in ("HTTPS://Portal.Example:443/tin-tuc/a", "https://portal.example/tin-tuc/a"):
        assert (await found(api, address))[0][0] == "good"
    [anywhere, _] = await found(api, "https://cổng.example/x", "/sites/open/install")
    assert "'https://xn--cng-qmz.example'" in anywhere[1]


async def test_what_would_be_refused_is_told_with_its_mend(api: Api) -> None:
    """Another origin, a page without a counter, an address that is none, a closed site, http behind https."""
    [origin, other] = await found(api, "https://www.portal.example/x")
    assert origin == (
        "bad",
        FINDINGS["en"]["origin_bad"].format(origin="https://www.portal.example", site="portal"),
    )
    assert other[1].startswith("Counted for the site, without a counter of its own")
    for text in (
        "portal.example/a",
        "javascript:alert(1)",
        "/a",
        "http://[x",
        "https://a@b.c/",
        "x",
    ):
        assert [state for state, _ in await found(api, text)] == ["bad"], text
    [bad_page] = [
        text for state, text in await found(api, "https://portal.example/%ff") if state == "bad"
    ]
    assert "names no page" in bad_page
    assert (await found(api, "https://a.example/", "/sites/shut/install"))[0][1].startswith(
        "This site is closed"
    )
    [anywhere, _] = await found(api, "https://a.example/x", "/sites/open/install")
    assert "origins = ['https://a.example']" in anywhere[1]
    mixed = await found(api, "https://a.example/x", "/sites/open/install", host="counter.test")
    assert mixed[-1] == ("bad", FINDINGS["en"]["mixed"])  # fmt: skip


async def test_the_live_check_has_words_for_every_refusal(api: Api) -> None:
    """Each reason that a portal's page may be refused for has its mend, in both languages, and the script gets them."""
    reasons = {
        *Refusal
    } - {Refusal.PING, Refusal.METHOD, Refusal.UNAUTHORIZED, Refusal.MALFORMED, Refusal.TOO_LARGE, Refusal.TOO_SLOW}  # fmt: skip
    for lang in ("vi", "en"):
        assert LIVE[lang].keys() >= {reason.value for reason in reasons} | {"other"}
    page = await page_of(api, query="lang=en")
    [box] = [e for e in page.elements if e.attributes.get("id") == "check"]
    assert "hidden" in box.attributes
    assert msgspec.json.decode(box.attributes["data-words"]) == LIVE["en"]
    assert [e.words for e in page.all("noscript")] == [WORDS["en"]["no_script"]]


def test_both_languages_say_the_same_things() -> None:
    """Every sentence is there twice, with the same figures in it."""
    for texts in (WORDS, FINDINGS, LIVE):
        assert texts["vi"].keys() == texts["en"].keys()
        for name, text in texts["vi"].items():
            places = re.compile(r"\{\w+(?:!r)?\}")
            assert sorted(places.findall(text)) == sorted(places.findall(texts["en"][name])), name
