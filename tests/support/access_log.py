"""Access logs for tests: lines made to order, and an oracle that counts them in plain Python, apart from the importer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import crawleruseragents

ACCESS_LOG = Path(__file__).resolve().parents[1] / "data" / "access.log"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
GAP_SECONDS = 1800

_LINE = re.compile(
    r'(\S+) \S+ \S+ \[([^]]*)\] "(\S+) (\S+)[^"]*" (\d+) \S+ "[^"]*" "((?:[^"\\]|\\.)*)"'
)
_NO_PAGE = re.compile(
    r"\.(png|css|ico|jpe?g|txt|js|gif|jar|ttf|pdf|xml|py|svg|log|exe|xsl|c|conf|sh|woff|tex|swf|pyc|gz|doc|access|spec|pcap|mk"
    r"|markdown|m4|lua|gem|cpp)$|/feed/?$",
    re.IGNORECASE,
)


@dataclass
class Plain:
    """What a log amounts to."""

    views: int = 0
    visits: int = 0
    visitors: int = 0
    pages: Counter[str] = field(default_factory=Counter)
    days: dict[str, Counter[str]] = field(default_factory=dict)
    hours: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in ("views", "visits", "visitors")}
    )

    def add(self, name: str, at: int, day: str) -> None:
        """Book one of a metric at a moment (Unix seconds)."""
        setattr(self, name, getattr(self, name) + 1)
        self.days.setdefault(day, Counter())[name] += 1
        self.hours[name][at // 3600] += 1


def line(at: int, page: str = "/", address: str = "203.0.113.1", agent: str = FIREFOX) -> str:
    """Return a line of the combined format; `at` in Unix seconds."""
    moment = datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'{address} - - [{moment}] "GET {page} HTTP/1.1" 200 512 "-" "{agent}"\n'


def count(lines: Iterable[str], zone: ZoneInfo) -> Plain:
    """Count page views, visits and visitors of the combined format, line by line."""
    hits = []
    for text in lines:
        match = _LINE.match(text)
        assert match is not None, text
        address, moment, method, target, status, agent = match.groups()
        path = target.partition("?")[0]
        is_page = method == "GET" and status in {"200", "304"} and not _NO_PAGE.search(path)
        if is_page and agent not in {"", "-"} and not crawleruseragents.is_crawler(agent):
            at = datetime.strptime(moment, "%d/%b/%Y:%H:%M:%S %z")
            hits.append((at, (address, agent), path))
    found = Plain()
    last: dict[tuple[str, str], datetime] = {}
    seen: set[tuple[str, str, str]] = set()
    for at, reader, path in sorted(hits, key=lambda hit: hit[0]):
        day, seconds = at.astimezone(zone).date().isoformat(), round(at.timestamp())
        found.add("views", seconds, day)
        found.pages["/" + "/".join(filter(None, unquote(path).split("/")))] += 1
        if reader not in last or (at - last[reader]).total_seconds() > GAP_SECONDS:
            found.add("visits", seconds, day)
        if (day, *reader) not in seen:
            found.add("visitors", seconds, day)
        last[reader] = at
        seen.add((day, *reader))
    return found
