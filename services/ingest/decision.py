"""Whether a view counts: a named list of steps, each of which may refuse; the first refusal stands.

No step reads a clock, sends or logs: the moment is an argument. Changes together with `visits/refusal.py` and
`docs/wire-format.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from services.ingest.bearer import token_hash
from services.ingest.bot import why_bot
from services.ingest.client_address import Client
from services.ingest.rate_limit import RateLimiter
from services.ingest.request import Headers, ViewRequest
from services.runtime.site import Site
from visits.errors import PageError
from visits.record import ID_PATTERN
from visits.refusal import Refusal

VISITOR_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A visitor as an authenticated load test names it."""

STORED_VISITOR_PATTERN = re.compile(r"[A-Za-z0-9_-]{16,64}")
"""A visitor as a browser keeps it where the site says `identity = "storage"` (DESIGN 3.5)."""

QUOTE_LENGTH_MAX = 120


class Arrival(Struct):
    """One request with everything a decision may know.

    Attributes:
        request: what was sent.
        headers: the headers that matter.
        client: where it came from.
        site: the declared site it names.
        now_seconds: a monotonic clock, for the rate.
        is_authenticated: the sender holds a token of a test site, so that bot and rate rules do not apply.
        page: the canonical page, once found.
        keepsake: what the sender's browser is told to keep as its `visitor`; empty: to forget it; `None`: nothing.
    """

    request: ViewRequest
    headers: Headers
    client: Client
    site: Site
    now_seconds: float
    is_authenticated: bool = False
    page: str = ""
    keepsake: str | None = None


class Refused(Struct, frozen=True):
    """Why a request is not counted.

    Attributes:
        reason: of the closed set.
        hint: one sentence: what it is, and what mends it.
        retry_after_seconds: when to try again; 0 where that would not help.
    """

    reason: Refusal
    hint: str
    retry_after_seconds: int = 0


class Rules:
    """Decides, by the declared sites and the rates seen so far."""

    def __init__(self, sites: Mapping[str, Site], limiter: RateLimiter) -> None:
        """Decide for `sites`."""
        self._sites = sites
        self._limiter = limiter
        self.steps: tuple[Callable[[Arrival], Refused | None], ...] = (
            self.refuse_closed_site,
            self.refuse_origin,
            self.authenticate,
            self.refuse_rate,
            self.refuse_id,
            self.refuse_page,
            self.refuse_prefetch,
            self.refuse_own,
            self.refuse_bot,
        )

    def site(self, name: str) -> Site | Refused:
        """Return the declared site of that name."""
        site = self._sites.get(name)
        if site is None:
            return Refused(
                Refusal.UNKNOWN_SITE,
                f"no site {_quote(name)} is declared here; check the snippet's data-site, or add [sites.ID]",
            )
        return site

    def decide(self, arrival: Arrival) -> Refused | None:
        """Return why a request is refused, or `None` once every step let it pass."""
        for step in self.steps:
            refused = step(arrival)
            if refused is not None:
                return refused
        return None

    def refuse_closed_site(self, arrival: Arrival) -> Refused | None:
        """Refuse what is sent for a site that counts no more."""
        if arrival.site.settings.closed:
            return Refused(
                Refusal.CLOSED_SITE, f"site {arrival.site.id!r} is closed and counts no more"
            )
        return None

    def refuse_origin(self, arrival: Arrival) -> Refused | None:
        """Refuse pages of other portals: by Origin, else by the Referer; neither present is no refusal."""
        # A page of this very server, as the frame of a site: who may frame it was said with it (Fetch Metadata).
        if not arrival.site.settings.origins or arrival.headers.is_same_origin:
            return None
        origin = arrival.headers.origin or arrival.headers.referer
        if not origin or arrival.site.allows_origin(origin):
            return None
        return Refused(
            Refusal.ORIGIN,
            f"{_quote(_origin_of(origin))} is not among the origins of site {arrival.site.id!r}; "
            f"add it to origins under [sites.{arrival.site.id}]",
        )

    def authenticate(self, arrival: Arrival) -> Refused | None:
        """Lift the rules for a load test into a test site; a token that is wrong there is refused."""
        settings = arrival.site.settings
        if not arrival.headers.authorization or not settings.test or not settings.tokens:
            return None
        if token_hash(arrival.headers.authorization) not in settings.tokens:
            return Refused(
                Refusal.UNAUTHORIZED, f"the bearer token is none of site {arrival.site.id!r}"
            )
        arrival.is_authenticated = True
        return None

    def refuse_rate(self, arrival: Arrival) -> Refused | None:
        """Refuse what one client sends too fast."""
        if arrival.is_authenticated:
            return None
        wait = self._limiter.wait_seconds(
            (arrival.site.id, arrival.client.network), arrival.now_seconds
        )
        if wait <= 0:
            return None
        return Refused(
            Refusal.RATE_LIMIT,
            "too many views from one address; server.rate_limit_per_second and trusted_proxies set the limit",
            retry_after_seconds=min(60, int(wait) + 1),
        )

    def refuse_id(self, arrival: Arrival) -> Refused | None:
        """Refuse an id that is none."""
        event_id = arrival.request.id
        if event_id is None or ID_PATTERN.fullmatch(event_id):
            return None
        return Refused(Refusal.BAD_ID, "an id has 8 to 64 of A-Z, a-z, 0-9, '_' and '-'")

    def refuse_page(self, arrival: Arrival) -> Refused | None:
        """Refuse what names no page; find the page of a view."""
        if arrival.request.kind == "ping":
            return None
        try:
            arrival.page = arrival.site.page(arrival.request.page)
        except PageError as error:
            return Refused(Refusal.BAD_PAGE, str(error))
        return None

    def refuse_prefetch(self, arrival: Arrival) -> Refused | None:
        """Do not count a page that the browser only prepares."""
        # Who says `own` is the widget, which waits until the page is seen; right then a browser may still mark its requests.
        if arrival.headers.is_prefetch and arrival.request.own is None:
            return Refused(Refusal.PREFETCH, "the browser only prepares the page; nobody saw it")
        return None

    def refuse_own(self, arrival: Arrival) -> Refused | None:
        """Do not count the webmaster's own visits."""
        if arrival.request.own:
            return Refused(Refusal.OWN, "this browser is marked as the webmaster's own")
        return None

    def refuse_bot(self, arrival: Arrival) -> Refused | None:
        """Do not count programs."""
        if arrival.is_authenticated:
            return None
        why = why_bot(arrival.headers.user_agent)
        return None if why is None else Refused(Refusal.BOT, why)


def _origin_of(text: str) -> str:
    """Return scheme and host of a URL, so that no page's address is quoted."""
    scheme, found, rest = text.partition("://")
    if not found:
        return text
    return f"{scheme}://{re.split(r'[/?#]', rest, maxsplit=1)[0]}"


def _quote(text: str) -> str:
    return repr(text[:QUOTE_LENGTH_MAX])
