"""Whose request it is, whatever is forged."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from services.ingest.client_address import (
    RECENT_VIEWS,
    ClientFinder,
    SuspectWatch,
    host_network,
    is_own_network,
    parse_address,
)

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # No trusted peer: what it claims is worth nothing.
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1, 10.0.0.1", "203.0.113.9"),
        # A trusted peer: the rightmost that is not trusted.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.2.3.4", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.1, 10.2.3.4", "198.51.100.1"),
        ("2001:db8:1::5", "2001:db8:ffff::1", "2001:db8:ffff::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        # All are trusted: the leftmost.
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        # A malformed entry: the last hop known.
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, , 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "999.1.1.1", "10.0.0.1"),
        ("10.0.0.1", "' OR 1=1 --", "10.0.0.1"),
        # Ports, as some proxies add them.
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8:ffff::1]:4711", "2001:db8:ffff::1"),
        ("10.0.0.1", "fe80::1%eth0", "fe80::1"),
        # No peer is known.
        ("", "198.51.100.1", "0.0.0.0"),
    ],
)
def test_client_is_the_rightmost_hop_nobody_vouches_for(
    peer: str, forwarded: str, client: str
) -> None:
    """The client is the rightmost forwarded address that is no trusted proxy's."""
    assert ClientFinder(PROXIES).find(peer, forwarded).address == client


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    """Nobody is believed by default, the own machine included."""
    assert ClientFinder(()).find("127.0.0.1", "198.51.100.1").address == "127.0.0.1"


def test_network_is_the_64_of_ipv6_and_all_of_ipv4() -> None:
    """Readers are told apart by IPv4 address or IPv6 /64."""
    finder = ClientFinder(())
    one, other = finder.find("2001:db8::1", ""), finder.find("2001:db8::2", "")
    assert one.network == other.network
    assert finder.find("192.0.2.1", "").network == finder.find("::ffff:192.0.2.1", "").network
    assert finder.find("192.0.2.1", "").network != finder.find("192.0.2.2", "").network


def test_malformed_addresses_are_none() -> None:
    """What is no address is not guessed at."""
    for text in ("", " ", "a", "1.2.3", "1.2.3.4.5", "[", "[]", "1.2.3.4:5:6", "\x00", "0x7f.1"):
        assert parse_address(text) is None


def test_suspect_when_nearly_all_share_one_address() -> None:
    """Nine in ten of the last 500 from one address are suspected, and no more once that ends."""
    watch = SuspectWatch()
    changes = [watch.see("10.0.0.9") for _ in range(RECENT_VIEWS)]
    assert changes.count(True) == 1
    assert watch.suspect == "10.0.0.9"
    changes = [watch.see(f"192.0.2.{n % 250}") for n in range(RECENT_VIEWS)]
    assert changes.count(True) == 1
    assert watch.suspect is None


def test_no_suspect_below_the_share() -> None:
    """Eight in ten are many readers of one office."""
    watch = SuspectWatch()
    for n in range(4 * RECENT_VIEWS):
        watch.see("10.0.0.9" if n % 5 else f"192.0.2.{n % 250}")
    assert watch.suspect is None


def test_own_networks_and_cidrs() -> None:
    """Only addresses that are nobody's may be named in a log line."""
    assert is_own_network("10.1.2.3")
    assert is_own_network("127.0.0.1")
    assert not is_own_network("8.8.8.8")
    assert host_network("10.1.2.3") == "10.1.2.3/32"
    assert host_network("2001:db8::1") == "2001:db8::1/128"


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxy"),
    [
        ("203.0.113.9", "198.51.100.1", "none"),
        ("10.0.0.1", "", "none"),
        ("10.0.0.1", "198.51.100.1", "10.0.0.0/8"),
        # The one that the client came to, not the one that came to us.
        ("10.0.0.1", "198.51.100.1, 2001:db8:1::7", "2001:db8:1::/48"),
        ("2001:db8:1::7", "198.51.100.1, 10.0.0.1", "10.0.0.0/8"),
        ("10.0.0.1", "unknown", "none"),
    ],
)
def test_the_proxy_a_client_came_to_is_known(peer: str, forwarded: str, proxy: str) -> None:
    """By its network in trusted_proxies, never by an address."""
    assert ClientFinder(PROXIES).find(peer, forwarded).proxy == proxy
