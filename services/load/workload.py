"""What is sent: the bytes of request number n, a pure function of n, so that a repeat is the same and nothing is kept meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from services.load.access_log import Line
from services.load.target import Target

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
"""A browser's: without a token the rules against bots hold."""

_MIX_VISITOR, _MIX_PAGE, _MIX_SITE = 0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35
"""Odd numbers that spread consecutive n evenly over 2^32 (golden ratio; murmur3's finalizer)."""

_BENCHMARK_ADDRESSES = 1 << 17
"""198.18.0.0/15 is set aside for measurements (RFC 2544); beyond, one /64 each of 2001:db8::/32 (RFC 3849)."""


class Workload(Protocol):
    """Makes requests."""

    def request(self, number: int) -> bytes:
        """Return the whole HTTP/1.1 request of that number; the same each time."""

    def site(self, number: int) -> str:
        """Return the site the request is for."""


class Views:
    """`POST /v1/views` of invented readers on invented pages, evenly spread."""

    def __init__(  # what the command line offers
        self,
        target: Target,
        sites: Sequence[str],
        *,
        run: str,
        visitors: int,
        pages: int,
        token: str = "",
    ) -> None:
        """Draw from `visitors` readers and `pages` pages of each of `sites`; a site named twice gets twice the share.

        Args:
            target: where to.
            sites: their ids.
            run: 8 or more letters and digits that no other run has: the ids begin with them.
            visitors: how many readers.
            pages: how many pages.
            token: a bearer token of the test sites; with it readers are named, else they have addresses of their own.
        """
        self._sites = [site.encode() for site in sites]
        self._names = tuple(sites)
        self._visitors = visitors
        self._pages = pages
        self._run = run.encode()
        self._is_named = bool(token)
        self._head = target.head("POST", "/v1/views") + (
            f"User-Agent: {AGENT}\r\nContent-Type: text/plain\r\n{_bearer(token)}".encode()
        )

    def request(self, number: int) -> bytes:
        """Return the request of view `number`."""
        visitor = (number * _MIX_VISITOR & 0xFFFFFFFF) * self._visitors >> 32
        page = (number * _MIX_PAGE & 0xFFFFFFFF) * self._pages >> 32
        site = self._sites[(number * _MIX_SITE & 0xFFFFFFFF) * len(self._sites) >> 32]
        if self._is_named:
            body = (
                b'{"site":"%b","page":"/load/page-%d","id":"%b-%09d","visitor":"reader-%09d"}'
                % (
                    site,
                    page,
                    self._run,
                    number,
                    visitor,
                )
            )
            return b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)
        body = b'{"site":"%b","page":"/load/page-%d","id":"%b-%09d"}' % (
            site,
            page,
            self._run,
            number,
        )
        return b"%bX-Forwarded-For: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            self._head,
            address(visitor),
            len(body),
            body,
        )

    def site(self, number: int) -> str:
        """Return the site of view `number`."""
        return self._names[(number * _MIX_SITE & 0xFFFFFFFF) * len(self._names) >> 32]


class Replay:
    """The page views of an access log, in its order and again from the start, with its addresses and user agents."""

    def __init__(
        self, target: Target, site: str, lines: Sequence[Line], *, run: str, token: str = ""
    ) -> None:
        """Make the requests of all `lines`; at least one."""
        self._site = site
        self._run = run.encode()
        head = target.head("POST", "/v1/views")
        self._parts: list[tuple[bytes, bytes]] = []
        for line in lines:
            agent = line.agent.encode("latin-1", "replace")
            headers = (
                b"%bUser-Agent: %b\r\nX-Forwarded-For: %b\r\nContent-Type: text/plain\r\n%b"
                % (head, agent, line.address.encode("latin-1", "replace"), _bearer(token).encode())
            )
            body = {"site": site, "page": line.page}
            if token:
                body["visitor"] = line.reader
            self._parts.append((headers, msgspec.json.encode(body)[:-1]))

    def request(self, number: int) -> bytes:
        """Return the request of view `number`."""
        headers, body = self._parts[number % len(self._parts)]
        whole = b'%b,"id":"%b-%09d"}' % (body, self._run, number)
        return b"%bContent-Length: %d\r\n\r\n%b" % (headers, len(whole), whole)

    def site(self, number: int) -> str:
        """Return the one site."""
        del number
        return self._site


class Reads:
    """`GET` of the same addresses in turn: counters, badges, whatever people read."""

    def __init__(self, target: Target, paths: Sequence[str]) -> None:
        """Read each of `paths` in turn."""
        self._requests = [target.head("GET", path) + b"\r\n" for path in paths]
        self._paths = tuple(paths)

    def request(self, number: int) -> bytes:
        """Return the request of that number."""
        return self._requests[number % len(self._requests)]

    def site(self, number: int) -> str:
        """Return the path: reading counts for no site."""
        return self._paths[number % len(self._paths)]


def address(visitor: int) -> bytes:
    """Return an address of a reader's own, out of the ranges for measurements and documents."""
    if visitor < _BENCHMARK_ADDRESSES:
        return b"198.%d.%d.%d" % (18 + (visitor >> 16), visitor >> 8 & 255, visitor & 255)
    return b"2001:db8:%x:%x::1" % (visitor >> 16, visitor & 0xFFFF)


def _bearer(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n" if token else ""
