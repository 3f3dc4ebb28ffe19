"""Texts that try to be more than text, and what a form of the answer must still be with them in it.

One corpus for every form: HTML, SVG, JSON, CSV, addresses. Sources: OWASP "Cross Site Scripting Prevention" and "CSV Injection",
the Unicode Bidirectional Algorithm's controls (UAX #9), and template languages.
"""

from __future__ import annotations

import csv
import io
from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from tests.support.page_html import Html

CORPUS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "</style></textarea></template><svg/onload=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)" x="',
    "<a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)//",
    "&lt;b&gt;&#60;script&#62;&quot;&amp;",
    "<!--",
    "]]><script/>",
    "<?xml version='1.0'?><!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "{{ 7*7 }}{% raw %}{0.__class__}%s",
    '\\"};alert(1);{"a":"',
    "\u202egnp.exe\u2066",
    "\u2028\u2029",
    "=1+1",
    '=HYPERLINK("http://evil.example","x")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "  =1+1",
    "\uff1d1+1",
    'a,b;"c"',
    "../../../etc/passwd",
)
"""Of printable characters and separators only: others are refused at the door, as a page's and as a name's."""

FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")

_ELEMENTS = (
    "html head meta title link script body header h1 h2 h3 nav ul li a img main section div span b p small bdi br table caption thead "
    "tbody tfoot tr th td figure details summary dl dt dd footer noscript form input label button pre code visit-counter"
)
OWN_ELEMENTS = frozenset(_ELEMENTS.split())
"""The elements that our templates have; none more may come out of a text."""

LINK_STARTS = ("../", "?", "#", "data:,", "demo")
"""How the links of our pages begin."""


def check_html(body: bytes, texts: tuple[str, ...], *, also_links: tuple[str, ...] = ()) -> Html:
    """The texts stand in the page as texts or values: no element, attribute or address comes out of one."""
    page = Html(body)
    for element in page.elements:
        assert element.tag in OWN_ELEMENTS, element
        assert not [name for name in element.attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            address = element.attributes.get(name)
            if address is not None:
                assert address.startswith(LINK_STARTS + also_links), address
        if element.tag == "script":
            assert element.words == ""
    told = " ".join(element.words for element in page.elements)
    values = [value for element in page.elements for value in element.attributes.values()]
    for text in texts:
        plain = " ".join(text.split())
        assert plain in told or any(text in value for value in values), text
    return page


def check_svg(body: bytes, text: str) -> None:
    """The image is well-formed, of our few elements, and its title holds the text."""
    root = ET.fromstring(body)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg", "title", "rect", "path", "g", "text",
    }  # fmt: skip
    assert not [n for element in root.iter() for n in element.attrib if n.startswith("on")]
    assert text in "".join(root.itertext())


def check_csv(body: bytes, texts: tuple[str, ...], *, behind: str = "") -> None:
    """No cell begins as a formula does, and each text stands in one, behind an apostrophe where it had to."""
    rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    cells = [cell for row in rows for cell in row]
    for cell in cells:
        is_number = cell.removeprefix("-").isdecimal()
        assert is_number or not cell.lstrip(" ").startswith(FORMULAS), cell
    assert len({len(row) for row in rows}) == 1
    for text in texts:
        assert behind + text in cells or "'" + behind + text in cells, text


def check_json(body: bytes, texts: tuple[str, ...]) -> None:
    """The answer can be read, and the texts come out as they went in."""
    told = set(_strings(msgspec.json.decode(body)))
    for text in texts:
        assert text in told, text


def _strings(value: Any) -> list[str]:  # JSON
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *_strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
