"""Origins: which portals' pages may use a counter, by the browser's Origin, else by the Referer (Fetch standard, "origin").

Scheme, host and port must all agree. `https://*.hanoi.gov.vn` stands for every host below `hanoi.gov.vn`, however deep, not for
`hanoi.gov.vn` itself; without a port it means the scheme's own. Hosts in other scripts are compared as browsers send them (IDNA).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

CACHE_SIZE = 10_000
DEFAULT_PORTS = {"http": 80, "https": 443}
WILDCARD = "*."

_ORIGIN = re.compile(r"(https?)://([^/?#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(
    r"((?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(\d{1,5}))?"
)
"""Host and port as browsers send them (RFC 3986 section 3.2, lower case); no user, no backslash, nothing that is not ASCII."""


class Origin(NamedTuple):
    """Scheme, host in lower case, port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Write it as browsers do: without the scheme's own port."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


@lru_cache(CACHE_SIZE)
def parse_origin(text: str) -> Origin | None:
    """Return the origin of an Origin header or of a URL; `None` for anything else, `null` included."""
    begin = _ORIGIN.match(text)
    authority = begin and _AUTHORITY.fullmatch(begin[2].lower())
    if not begin or not authority:
        return None
    scheme = begin[1].lower()
    return Origin(scheme, authority[1], int(authority[2] or DEFAULT_PORTS[scheme]))


def declared_origin(text: str) -> str:
    """Return an origin of the configuration as it is compared.

    Raises:
        ValueError: it is none, or more than scheme, host and port.
    """
    scheme, found, rest = text.strip().partition("://")
    wildcard = WILDCARD if rest.startswith(WILDCARD) else ""
    try:
        host = rest.removeprefix(wildcard).encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    parsed = parse_origin(f"{scheme}://{host}")
    if not found or parsed is None or set(host) & set("/?#"):
        msg = f'{text!r} is no origin; write scheme and host, e.g. "https://portal.example" or "https://*.example"'
        raise ValueError(msg)
    return str(parsed._replace(host=wildcard + parsed.host))


def origin_matcher(declared: Iterable[str]) -> Callable[[str], bool]:
    """Return a claim that says whether a text's origin is among the declared ones (`declared_origin`)."""
    exact: set[Origin] = set()
    below: list[tuple[str, int, str]] = []
    for text in declared:
        origin = parse_origin(text.replace(WILDCARD, "", 1))
        assert origin is not None, "declared origins were checked"
        if WILDCARD in text:
            below.append((origin.scheme, origin.port, f".{origin.host}"))
        else:
            exact.add(origin)

    def matches(text: str) -> bool:
        origin = parse_origin(text)
        if origin is None:
            return False
        return origin in exact or any(
            origin.scheme == scheme and origin.port == port and origin.host.endswith(suffix)
            for scheme, port, suffix in below
        )

    return matches
