"""The record of an accepted request: here address and user agent become a pseudonym, and end (DESIGN 3.5)."""

from __future__ import annotations

from secrets import token_urlsafe

from services.ingest.decision import STORED_VISITOR_PATTERN, VISITOR_PATTERN, Arrival
from services.ingest.local_day import Calendar, LocalDay
from services.ingest.salt import SaltKeeper
from services.ingest.visitor import VisitorLimit
from services.runtime.opening import new_id
from visits.errors import StoreUnavailableError
from visits.pseudonym import pseudonym
from visits.record import VERSION, Ping, View

VISITOR_PREFIX = b"visitor:"
"""Stands before a reader's own id: no network is as long as this and an id, so that the two kinds never meet."""

KEEPSAKE_BYTES = 16
"""Chance in the id that a browser is given to keep: no two are ever alike."""


class Recorder:
    """Makes records."""

    def __init__(self, calendar: Calendar, salts: SaltKeeper) -> None:
        """Use the days of `calendar` and the salts of `salts`."""
        self._calendar = calendar
        self._salts = salts
        self._visitors = VisitorLimit()

    def record(self, arrival: Arrival, now: int) -> View | Ping:
        """Return the record of a request that every rule let pass.

        Args:
            arrival: with its page found.
            now: Unix milliseconds: the moment of the event.

        Raises:
            StoreUnavailableError: today's salt was never seen, so nobody can be told apart.
        """
        request, site = arrival.request, arrival.site
        today = self._calendar.day(now, site.zone)
        visitor = previous = None
        if not arrival.headers.asks_privacy:
            visitor, previous = self._pseudonyms(arrival, today, now)
        event_id = request.id or new_id()
        if request.kind == "ping":
            return Ping(
                v=VERSION,
                site=site.id,
                id=event_id,
                at=now,
                received=now,
                day=today.day,
                visitor=visitor,
                previous=previous,
            )
        return View(
            v=VERSION,
            site=site.id,
            id=event_id,
            at=now,
            received=now,
            day=today.day,
            page=arrival.page,
            visitor=visitor,
            previous=previous,
            entry=visitor is None and bool(request.entry),
        )

    def _pseudonyms(self, arrival: Arrival, today: LocalDay, now: int) -> tuple[str, str | None]:
        """Return the reader's pseudonym of today and, shortly after midnight, of yesterday."""
        salt = self._salts.salt(today.day)
        if salt is None:
            raise StoreUnavailableError("today's salt was never seen")
        site = arrival.site.id
        network, user_agent = self._identity(arrival, now)
        visitor = pseudonym(salt, site, network, user_agent).hex()
        before = self._salts.salt(today.before) if today.has_previous(now) else None
        if before is None:
            return visitor, None
        return visitor, pseudonym(before, site, network, user_agent).hex()

    def _identity(self, arrival: Arrival, now: int) -> tuple[bytes, str]:
        """Return what a reader is told apart by: address and user agent, or an id where the site allows one."""
        request, is_storage = arrival.request, arrival.site.settings.identity == "storage"
        # Who says `own` has looked into the browser's storage: the widget, where storage is allowed.
        can_keep = request.own is not None and request.kind == "view"
        named = request.visitor
        if not named and can_keep and is_storage:
            named = token_urlsafe(KEEPSAKE_BYTES)
        if named and self._may_name(arrival, named, now):
            if named != request.visitor:
                arrival.keepsake = named
            return VISITOR_PREFIX + named.encode(), ""
        if named and can_keep and not is_storage:
            arrival.keepsake = ""
        return arrival.client.network, arrival.headers.user_agent

    def _may_name(self, arrival: Arrival, named: str, now: int) -> bool:
        if arrival.is_authenticated:
            return VISITOR_PATTERN.fullmatch(named) is not None
        return (
            arrival.site.settings.identity == "storage"
            and STORED_VISITOR_PATTERN.fullmatch(named) is not None
            and self._visitors.admits(arrival.site.id, arrival.client.network, named, now)
        )
