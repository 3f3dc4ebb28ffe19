"""`GET /v1/views/recent`: what became of the last views of the browser that asks (`services.ingest.arrival_watch`)."""

from __future__ import annotations

from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import msgspec

from services.ingest.answer import PROBLEM, Header, respond
from services.ingest.arrival_watch import WATCH_SECONDS, ArrivalWatch, Sighting
from services.ingest.bot import why_bot
from services.ingest.client_address import ClientFinder
from services.ingest.request import Headers, Receive, Scope, Send, read_headers
from services.runtime.problem import problem_body
from visits.refusal import Refusal

HTTP_OK, HTTP_METHOD = 200, 405
QUERY_BYTES_MAX = 1_024

_OWN: list[Header] = [
    (b"content-type", b"application/json"),
    # For the browser that asks alone: no other origin may read it, no cache may keep it.
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
]


class RecentRoute:
    """Tells a browser what was seen of it."""

    def __init__(self, watch: ArrivalWatch, finder: ClientFinder) -> None:
        """Take who remembers, and who finds a request's client."""
        self._watch = watch
        self._finder = finder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        del receive
        if scope["method"] not in {"GET", "HEAD"}:
            body = problem_body(HTTP_METHOD, Refusal.METHOD.value, "this address answers GET alone")
            await respond(send, HTTP_METHOD, [*PROBLEM, (b"allow", b"GET")], body)
            return
        headers = read_headers(scope["headers"])
        peer = scope["client"][0] if scope["client"] else ""
        site = _site(scope["query_string"])
        answer = self._told(peer, headers, site, monotonic())
        await respond(send, HTTP_OK, _OWN, msgspec.json.encode(answer))

    def _told(self, peer: str, headers: Headers, site: str, now: float) -> dict[str, Any]:
        """Return the answer: what was seen for the site, or for one that is not declared, and what is known of this browser."""
        client = self._finder.find(peer, headers.forwarded)
        seen = self._watch.watch(self._watch.who(client.network, headers.user_agent), now)
        concerned = [s for s in seen if s.site == site or s.reason is Refusal.UNKNOWN_SITE]
        return {
            "views": [_line(sighting, now) for sighting in concerned],
            "watch_seconds": int(WATCH_SECONDS),
            "asks_privacy": headers.asks_privacy,
            "untrusted_proxy": bool(headers.forwarded) and not self._finder.trusts(peer),
            "bot": why_bot(headers.user_agent),
        }


def _line(sighting: Sighting, now: float) -> dict[str, Any]:
    return {
        "seconds_ago": round(now - sighting.at, 1),
        "site": sighting.site,
        "id": sighting.id,
        "counted": sighting.reason is None,
        "reason": sighting.reason,
        "hint": sighting.hint,
        "position": sighting.position,
    }


def _site(query: bytes) -> str:
    """Return the site that a query names; empty where it names none."""
    if len(query) > QUERY_BYTES_MAX:
        return ""
    return parse_qs(query.decode("latin-1"), max_num_fields=8).get("site", [""])[0]
