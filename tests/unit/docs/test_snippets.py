"""What a webmaster copies out of the documentation: elements with attributes that exist, addresses that answer."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import widget
from tests.support.api import Api
from tests.support.document import Document, all_documents
from tests.support.logs import view
from tests.support.visit_counter import REPOSITORY

SCRIPT_ATTRIBUTES = {"async", "src", "integrity", "crossorigin", "data-site", "data-spa"}
PLAIN_ATTRIBUTES = {"data-visit-counter", "data-page"}
ADDRESS = re.compile(r"""https?://(?:127\.0\.0\.1:8080|counter\.example)(/[^\s'"`<>();]*)""")
WRITING = re.compile(r"/v1/(views|views\.gif|batches|sites/[^/]+/deltas)$")
"""The addresses of ingest, which this test does not start."""

SITE = re.compile(r"/(?:v1/sites|sites|embed)/([a-z0-9-]+)")
ENDLESS = "/stream"


class Elements(HTMLParser):
    """Collects the elements of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def element_attributes() -> set[str]:
    """Return the attributes of `<visit-counter>`, as its manifest has them."""
    manifest = json.loads((REPOSITORY / "widget/custom-elements.json").read_text(encoding="utf-8"))
    return {one["name"] for one in manifest["modules"][0]["declarations"][0]["attributes"]}


def html_of(documents: list[Document]) -> str:
    """Return all that is shown as HTML, within sentences too."""
    return "\n".join(
        text
        for document in documents
        for text in (*document.blocks_of("html"), *document.inline)
        if text.lstrip().startswith("<")
    )


def shown_addresses() -> set[str]:
    """Return path and query of every address of the counter in the documentation."""
    texts = (
        text
        for document in all_documents()
        for text in (*(block.text for block in document.blocks), *document.inline)
    )
    found = {unescape(address).rstrip(".,") for text in texts for address in ADDRESS.findall(text)}
    return {address for address in found if not set(address) & set("{}…*|$")}


def test_elements_have_attributes_that_exist() -> None:
    """No snippet names an attribute that the widget does not know."""
    known = element_attributes()
    seen = set()
    for tag, attributes in Elements(html_of(list(all_documents()))).found:
        if tag == "visit-counter":
            assert attributes.keys() <= known, attributes
            seen.add(tag)
        elif tag == "script" and "/widget/" in (attributes.get("src") or ""):
            assert attributes.keys() <= SCRIPT_ATTRIBUTES, attributes
            seen.add(tag)
        elif PLAIN_ATTRIBUTES & attributes.keys():
            told = {name for name in attributes if name.startswith("data-")}
            assert told <= PLAIN_ATTRIBUTES, attributes
            seen.add("plain")
    assert seen == {"visit-counter", "script", "plain"}


def test_versions_of_the_widget_are_this_one() -> None:
    """A versioned address is that of the file which is served."""
    told = {
        address.split("/")[2] for address in shown_addresses() if "/visit-counter.js" in address
    }
    assert told == {widget.VERSION}


async def test_addresses_answer(tmp_path: Path) -> None:
    """Every address that is to be read is answered 200, with the parameters that are shown."""
    addresses = {urlsplit(address) for address in shown_addresses()}
    sites = {found[1] for part in addresses if (found := SITE.match(part.path))}
    api = Api(tmp_path, sites={site: {} for site in sites})
    await api.log.open()
    await api.store.open()
    await api.count(*(view(site=site, id=f"view-of-{site}") for site in sites))
    asked = 0
    for part in sorted(addresses):
        if WRITING.search(part.path) or part.path.endswith(ENDLESS) or part.path in {"", "/"}:
            continue
        answer = await api.get(part.path, part.query, user_agent="Mozilla/5.0")
        assert answer.status == HTTPStatus.OK, (part, answer.body)
        asked += 1
    assert asked > len(sites)
    await api.part.close()
    await api.store.close()
    await api.log.close()
