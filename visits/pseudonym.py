"""Pseudonyms: who is the same reader on one site on one local day, without keeping who it is.

A pseudonym is a keyed BLAKE2b-64 of length-prefixed (site, address, user agent) under the random salt of the local date. The
salt is destroyed after 48 h, so nobody, the operator included, can go back from a pseudonym to an address (DESIGN 3.5).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address

SALT_BYTES = 32
"""Length of a day's salt: 256 bits from the system's random source."""

PSEUDONYM_BYTES = 8
"""BLAKE2b-64: with a million readers a day the chance that two share one is 3 in 10^8."""


def network_of(address: str) -> bytes:
    """Return the part of a client address that stands for a reader: IPv4 whole, IPv6 its /64, mapped IPv4 as IPv4.

    Args:
        address: a textual IPv4 or IPv6 address; a zone id (`%eth0`) is dropped.

    Raises:
        ValueError: when `address` is no address.
    """
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed.packed[:8]
        parsed = parsed.ipv4_mapped
    return parsed.packed


def pseudonym(salt: bytes, site: str, network: bytes, user_agent: str) -> bytes:
    """Return the 8-byte pseudonym of a reader on `site` on the day of `salt`.

    Every part is prefixed with its length (4 bytes, big-endian), so that no two different triples give the same message.
    """
    parts = (site.encode(), network, user_agent.encode("utf-8", "surrogateescape"))
    message = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return blake2b(message, digest_size=PSEUDONYM_BYTES, key=salt).digest()


def pseudonym_maker(salt: bytes, site: str) -> Callable[[bytes, str], bytes]:
    """Return `pseudonym` of one site and day, with what all its readers share hashed once: for many at a time."""
    shared = blake2b(digest_size=PSEUDONYM_BYTES, key=salt)
    shared.update(_part(site.encode()))

    def make(network: bytes, user_agent: str) -> bytes:
        own = shared.copy()
        own.update(_part(network) + _part(user_agent.encode("utf-8", "surrogateescape")))
        return own.digest()

    return make


def _part(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
