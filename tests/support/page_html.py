"""A page's HTML as a test looks at it: which elements there are, their attributes, their texts; and what makes a page usable."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple

VOID = frozenset({"meta", "link", "br", "img", "input", "wbr"})


class Element(NamedTuple):
    """One element."""

    tag: str
    attributes: dict[str, str]
    text: list[str]
    parents: tuple[str, ...]

    @property
    def words(self) -> str:
        """All text within, blanks as one."""
        return " ".join("".join(self.text).split())


class Html(HTMLParser):
    """A parsed page; parsing fails where tags do not match."""

    def __init__(self, body: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(body.decode())
        self.close()
        assert self._open == [], [element.tag for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        parents = tuple(element.tag for element in self._open)
        element = Element(tag, {name: value or "" for name, value in attrs}, [], parents)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        element = self._open.pop()
        assert element.tag == tag, (element, tag)

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text.append(data)

    def all(self, tag: str) -> list[Element]:
        """Return the elements of a name, in order."""
        return [element for element in self.elements if element.tag == tag]

    def column(self, table: str, index: int) -> list[str]:
        """Return the texts of a column of the table with this caption, without its head."""
        rows = self.rows(table)
        return [row[index] for row in rows]

    def rows(self, caption: str) -> list[list[str]]:
        """Return the rows of the body of the table whose caption begins so."""
        found: list[list[str]] = []
        is_wanted = False
        for element in self.elements:
            if element.tag == "caption":
                is_wanted = element.words.startswith(caption)
            elif is_wanted and "tbody" in element.parents and element.tag == "tr":
                found.append([])
            elif is_wanted and "tbody" in element.parents and element.tag in {"td", "th"}:
                found[-1].append(element.words)
        return found


def check_page(page: Html) -> None:
    """A page has one first heading, landmarks, headings without a gap, and tables with captions and scopes."""
    assert [html.attributes["lang"] for html in page.all("html")] in (["vi"], ["en"])
    assert page.all("title")[0].words
    assert [len(page.all(tag)) for tag in ("h1", "main", "header", "footer")] == [1, 1, 1, 1]
    level = 0
    for element in page.elements:
        if element.tag in {"h1", "h2", "h3", "h4"}:
            assert int(element.tag[1]) <= level + 1, element.words
            level = int(element.tag[1])
    assert len(page.all("caption")) == len(page.all("table"))
    for head in page.all("th"):
        assert head.attributes.get("scope") in {"row", "col"}, head
    names = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(names) == len(set(names)), names
    for element in page.elements:
        for reference in ("aria-labelledby", "for"):
            assert element.attributes.get(reference, names[0]) in names, element
    for nav in page.all("nav"):
        assert nav.attributes["aria-label"]


def check_policy(page: Html, policy: str) -> None:
    """Nothing on the page needs more than its strict policy allows: no inline script, no inline style, nothing foreign."""
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on") or name == "style"]
        assert element.tag not in {"style", "iframe", "object", "embed", "base", "img"}, element
        for name in ("src", "href", "action"):
            address = element.attributes.get(name, "")
            assert "javascript:" not in address.lower(), element
    for script in page.all("script"):
        assert script.attributes["src"].startswith("../"), script
        assert script.words == ""
