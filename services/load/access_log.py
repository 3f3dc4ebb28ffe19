"""Page views out of an access log in the common or combined format, to be replayed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

from msgspec import Struct

from visits.asset import is_asset

LINE = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[[^]]*\] "GET (?P<page>/\S*) HTTP/[0-9.]+" (?:200|304) \S+'
    r'(?: "[^"]*" "(?P<agent>[^"]*)")?'
)
"""Apache's `common`, and `combined` with referrer and user agent (httpd manual, "Log Files"); nginx writes the same."""

LINES_MAX = 1_000_000


class Line(Struct, frozen=True):
    """One page view.

    Attributes:
        address: the reader's.
        agent: the browser's name for itself; empty in the common format.
        page: path and query.
    """

    address: str
    agent: str
    page: str

    @property
    def reader(self) -> str:
        """A name for those who share address and agent, for services that are told readers' names."""
        told = f"{self.address}\n{self.agent}".encode("utf-8", "surrogatepass")
        return blake2b(told, digest_size=10).hexdigest()


def page_views(lines: Iterable[str]) -> list[Line]:
    """Return the page views of a log, the first million of them; other lines are left out."""
    found: list[Line] = []
    for line in lines:
        match = LINE.match(line)
        if match is None or is_asset(match["page"].partition("?")[0]):
            continue
        found.append(Line(match["address"], match["agent"] or "", match["page"]))
        if len(found) >= LINES_MAX:
            break
    return found
