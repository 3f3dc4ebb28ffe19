"""How an outcome is put into HTTP: JSON, problem documents, the image; readable across origins, never cached."""

from __future__ import annotations

import base64

from msgspec import Struct, json

from services.ingest.request import Send
from services.runtime.direct import head_of
from services.runtime.problem import PROBLEM_TYPE, RETRY_AFTER_SECONDS, problem_body
from visits.refusal import HTTP_STATUS, QUIET, Refusal

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel (GIF89a)."""

_CHALLENGE = b'Bearer realm="visit-counter"'
"""How a request with no token or a wrong one is told what is asked for (RFC 6750 section 3)."""

PREFLIGHT_MAX_AGE_SECONDS = 86_400

Header = tuple[bytes, bytes]

_EVERY: list[Header] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Retry-After, X-Visit-Counter"),
    (b"cache-control", b"no-store"),
]
JSON: list[Header] = [(b"content-type", b"application/json"), *_EVERY]
PROBLEM: list[Header] = [(b"content-type", PROBLEM_TYPE.encode()), *_EVERY]
_GIF: list[Header] = [(b"content-type", b"image/gif"), *_EVERY]
_COUNTED_HEAD = head_of(202, JSON)


class Outcome(Struct, frozen=True):
    """What became of one request.

    Attributes:
        reason: why it is not counted; `None`: it is.
        hint: for people, where there is a reason.
        event_id: the id of what was counted.
        position: `partition:position` of its record, empty where the log did not tell.
        keepsake: what the browser is to keep as its `visitor`; empty: to forget it; `None`: nothing.
        retry_after_seconds: when to try again; 0: not said.
    """

    reason: Refusal | None = None
    hint: str = ""
    event_id: str = ""
    position: str = ""
    keepsake: str | None = None
    retry_after_seconds: int = 0


async def answer_json(send: Send, outcome: Outcome) -> None:
    """Answer `POST /v1/views`."""
    await respond(send, *_json(outcome))


def direct_json(outcome: Outcome) -> tuple[bytes, bytes]:
    """Return the answer to `POST /v1/views` as a direct route gives it: head and body."""
    if outcome.reason is None:
        return _COUNTED_HEAD, _counted(outcome)
    status, headers, body = _json(outcome)
    return head_of(status, headers), body


def _json(outcome: Outcome) -> tuple[int, list[Header], bytes]:
    reason = outcome.reason
    if reason is None:
        return 202, JSON, _counted(outcome)
    if reason in QUIET:
        answer = {"counted": False, "reason": reason.value}
        if outcome.hint:
            answer["hint"] = outcome.hint
        return 202, JSON, json.encode(answer)
    status = HTTP_STATUS[reason]
    headers = [*PROBLEM, *_retry_after(outcome)]
    if reason is Refusal.METHOD:
        headers.append((b"allow", b"POST, OPTIONS"))
    elif reason is Refusal.UNAUTHORIZED:
        headers.append((b"www-authenticate", _CHALLENGE))
    return status, headers, problem_body(status, reason.value, outcome.hint)


def _counted(outcome: Outcome) -> bytes:
    """Return what a counted view is told; all of it is of the harmless alphabet: nothing to escape."""
    position = f'"position":"{outcome.position}",' if outcome.position else ""
    visitor = "" if outcome.keepsake is None else f',"visitor":"{outcome.keepsake}"'
    return f'{{"counted":true,{position}"id":"{outcome.event_id}"{visitor}}}'.encode()


async def answer_gif(send: Send, outcome: Outcome) -> None:
    """Answer `GET /v1/views.gif`: always the image; what became of it stands in headers."""
    reason = outcome.reason
    told = "counted" if reason is None else reason.value
    headers = [*_GIF, (b"x-visit-counter", told.encode()), *_retry_after(outcome)]
    if outcome.position:
        headers.append((b"x-visit-counter-position", outcome.position.encode()))
    if reason is Refusal.METHOD:
        headers.append((b"allow", b"GET, OPTIONS"))
    status = 200 if reason is None or reason in QUIET else HTTP_STATUS[reason]
    await respond(send, status, headers, GIF)


async def answer_preflight(send: Send) -> None:
    """Answer the browser's question before a request that is not simple (Fetch standard, CORS-preflight)."""
    headers = [
        *_EVERY,
        (b"access-control-allow-methods", b"POST, GET, OPTIONS"),
        (b"access-control-allow-headers", b"Content-Type, Authorization, Idempotency-Key"),
        (b"access-control-max-age", str(PREFLIGHT_MAX_AGE_SECONDS).encode()),
    ]
    await respond(send, 204, headers, b"")


def _retry_after(outcome: Outcome) -> list[Header]:
    seconds = outcome.retry_after_seconds
    if outcome.reason is Refusal.UNAVAILABLE:
        seconds = seconds or RETRY_AFTER_SECONDS
    return [(b"retry-after", str(seconds).encode())] if seconds else []


async def respond(send: Send, status: int, headers: list[Header], body: bytes) -> None:
    """Send a whole response; who went away is not told."""
    length = [(b"content-length", str(len(body)).encode())] if status != 204 else []  # noqa: PLR2004  # 204 has no length (RFC 9110 section 8.6)
    try:
        await send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *length]}
        )
        await send({"type": "http.response.body", "body": body})
    except (RuntimeError, OSError):
        # The client went away; uvloop says so by a RuntimeError. What was counted stays counted.
        return
