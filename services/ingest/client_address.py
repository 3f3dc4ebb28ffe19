"""Whose request it is: the client's address behind trusted proxies, and a watch for proxies that nobody named (DESIGN 4.2)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from msgspec import Struct

from services.runtime.settings import Network
from visits.pseudonym import network_of

CACHE_SIZE = 20_000
RECENT_VIEWS = 500
SUSPECT_SHARE = 0.9
"""Nearly all of the last views from one address: a proxy that is not in `trusted_proxies` (DESIGN 4.2)."""

CHECK_EVERY = 100
"""How many views lie between two looks at the shares: a look costs as much as the work on a view."""

UNKNOWN = "0.0.0.0"  # noqa: S104  # an address that no client has, not one to listen on

DIRECT = "none"
"""The name of no proxy at all, in the metrics."""

Address = IPv4Address | IPv6Address


class Client(Struct, frozen=True):
    """Where a request came from.

    Attributes:
        address: textual; never leaves the process.
        network: the part of it that stands for a reader (`visits.pseudonym.network_of`).
        proxy: the network in `trusted_proxies` of the proxy that the client itself came to; `DIRECT` where it came to us.
    """

    address: str
    network: bytes
    proxy: str = DIRECT


class ClientFinder:
    """Finds the client: the rightmost X-Forwarded-For address that is not a trusted proxy's."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        """Trust the proxies of these networks, and nobody else."""
        self._trusted = tuple(trusted)
        self.find = lru_cache(CACHE_SIZE)(self._find)

    def _find(self, peer: str, forwarded: str) -> Client:
        """Return the client of a connection.

        A peer that is no trusted proxy is the client, whatever it claims. Where an entry is malformed, what stands left of it
        is worth nothing: the client is the last hop known. Where all are trusted: the leftmost.

        Args:
            peer: the connection's other end.
            forwarded: X-Forwarded-For, several headers joined by commas; empty where absent.
        """
        found = parse_address(peer)
        if found is None:
            return Client(UNKNOWN, network_of(UNKNOWN))
        proxy = DIRECT
        if forwarded:
            for entry in reversed(forwarded.split(",")):
                trusted = self._trusted_network(found)
                if trusted is None:
                    break
                hop = parse_address(entry)
                if hop is None:
                    break
                found, proxy = hop, trusted
        return Client(str(found), network_of(str(found)), proxy)

    def trusts(self, peer: str) -> bool:
        """Claim that the other end of a connection is a trusted proxy."""
        address = parse_address(peer)
        return address is not None and self._trusted_network(address) is not None

    def _trusted_network(self, address: Address) -> str | None:
        """Return the first trusted network that holds an address."""
        return next((str(network) for network in self._trusted if address in network), None)


class SuspectWatch:
    """Notices that nearly all views share one address."""

    def __init__(self) -> None:
        """Begin with no views seen."""
        self._recent: deque[str] = deque(maxlen=RECENT_VIEWS)
        self._unchecked = 0
        self.suspect: str | None = None
        """The shared address, while there is one."""

    def see(self, address: str) -> bool:
        """Take note of one view's address; return whether `suspect` changed."""
        self._recent.append(address)
        self._unchecked += 1
        if self._unchecked < CHECK_EVERY or len(self._recent) < RECENT_VIEWS:
            return False
        self._unchecked = 0
        top, count = Counter(self._recent).most_common(1)[0]
        before, self.suspect = self.suspect, top if count >= SUSPECT_SHARE * RECENT_VIEWS else None
        return self.suspect != before


def parse_address(text: str) -> Address | None:
    """Return the address of one X-Forwarded-For entry, `None` where it is malformed.

    Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. A mapped IPv4 address is the IPv4 one.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def is_own_network(address: str) -> bool:
    """Claim that an address tells nothing about a person: private, loopback or link-local."""
    parsed = ip_address(address)
    return parsed.is_private or parsed.is_loopback or parsed.is_link_local


def host_network(address: str) -> str:
    """Return the CIDR of one address, as it is to be put into `trusted_proxies`."""
    return f"{address}/{ip_address(address).max_prefixlen}"
