"""Whether a request in an access log was a page shown to a reader: by the rules of live counting, as far as a log can tell."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from services.importer.line import Hit
from services.importer.tally import Reason
from services.ingest.bot import why_bot
from services.ingest.client_address import ClientFinder, parse_address
from services.ingest.request import FORWARDED_LENGTH_MAX, USER_AGENT_LENGTH_MAX
from services.runtime.site import Site
from visits.asset import is_asset
from visits.errors import PageError

CACHE_SIZE = 50_000
SHOWN_STATUS = frozenset({"200", "304"})
"""Answered with the page, or with word that the browser has it already (RFC 9110 sections 15.3.1 and 15.4.5)."""


class Shown(Struct, frozen=True, gc=False):
    """A page shown to a reader. Address and user agent end in the fold of this process.

    Attributes:
        at: Unix milliseconds.
        page: canonical, or `(other)`.
        network: what stands for the reader's address; `None` where the log has none.
        agent: the user agent.
        entry: the referrer was not of this site; matters only without `network`.
    """

    at: int
    page: str
    network: bytes | None
    agent: str
    entry: bool


class Period(Struct, frozen=True):
    """From when to when lines count, and why not beyond.

    Attributes:
        since: Unix milliseconds, inclusive.
        until: exclusive.
        why_since: the reason for what lies before.
        why_until: the reason for what lies after.
    """

    since: int
    until: int
    why_since: Reason = Reason.BEFORE
    why_until: Reason = Reason.AFTER


class Judge:
    """Judges for one site."""

    def __init__(self, site: Site, clients: ClientFinder, period: Period) -> None:
        """Judge by the site's settings.

        Args:
            site: where the views belong.
            clients: finds readers behind trusted proxies.
            period: from when to when lines count.
        """
        self._site = site
        self._clients = clients
        self._since, self._until = period.since, period.until
        self._period = period
        self._page = lru_cache(CACHE_SIZE)(self._find_page)
        self._network = lru_cache(CACHE_SIZE)(self._find_network)

    def judge(self, hit: Hit) -> Shown | Reason:  # noqa: PLR0911  # one return a reason
        """Return the page shown, or why the request does not count."""
        if hit.at < self._since:
            return self._period.why_since
        if hit.at >= self._until:
            return self._period.why_until
        if hit.method != "GET":
            return Reason.METHOD
        if hit.status not in SHOWN_STATUS:
            return Reason.STATUS
        page = self._page(hit.target)
        if isinstance(page, Reason):
            return page
        agent = hit.agent
        if agent is None:
            agent = ""
        else:
            agent = agent[:USER_AGENT_LENGTH_MAX]
            if why_bot(agent) is not None:
                return Reason.BOT
        network = self._network(hit.address, hit.forwarded[-FORWARDED_LENGTH_MAX:])
        return Shown(hit.at, page, network, agent, network is None and self._is_entry(hit.referrer))

    def _find_page(self, target: str) -> str:
        if is_asset(target.partition("?")[0]):
            return Reason.ASSET
        try:
            return self._site.page(target)
        except PageError:
            return Reason.BAD_PAGE

    def _find_network(self, address: str, forwarded: str) -> bytes | None:
        if not address:
            return None
        if parse_address(address) is None:
            # A server that looks names up (HostnameLookups) wrote the name; no network is as long as this.
            return b"host-name:" + address.lower().encode("utf-8", "surrogateescape")
        return self._clients.find(address, forwarded).network

    def _is_entry(self, referrer: str) -> bool:
        """Claim that a reader came from elsewhere; without declared origins any referrer may be the site itself."""
        if not referrer:
            return True
        try:
            return not self._site.allows_origin(referrer)
        except ValueError:
            return True
