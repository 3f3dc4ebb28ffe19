"""What a client sends: the body of `POST /v1/views`, the query of `GET /v1/views.gif`, and the headers that matter.

Parsing only: whether a view counts is `decision`'s. Changes together with `docs/wire-format.md`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from visits.errors import InputError

BODY_BYTES_MAX = 4096
"""The greatest body of one view (DESIGN 3.6)."""

USER_AGENT_LENGTH_MAX = 512
"""User agents are cut here before anything looks at them: real ones are shorter."""

FORWARDED_LENGTH_MAX = 2048
"""Of a longer X-Forwarded-For only the right end, which our own proxies wrote, is read."""

SPELLINGS_MAX = 1_000
SPELLING_LENGTH_MAX = 64
"""Bounds on the names that are remembered."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ViewRequest(msgspec.Struct, frozen=True):
    """One view or ping as its sender describes it; unknown members are ignored.

    Attributes:
        site: the site's id.
        page: an absolute URL or a path; a ping needs none.
        id: the event's id, the same for every try; made here where absent.
        kind: a view, a sign that the reader is still there, or a probe, which `probe.py` reads anew.
        entry: the referrer was not of this site.
        visitor: an id the client chose; read only where the site says so (DESIGN 3.5).
        own: the webmaster's own visit.
    """

    site: str
    page: str = ""
    id: str | None = None
    kind: Literal["view", "ping", "probe"] = "view"
    entry: bool | None = None
    visitor: str | None = None
    own: bool | None = None


class Headers(msgspec.Struct):
    """The headers that matter, decoded as Latin-1 (RFC 9110 section 5.5); empty where absent."""

    origin: str = ""
    referer: str = ""
    user_agent: str = ""
    forwarded: str = ""
    authorization: str = ""
    is_prefetch: bool = False
    asks_privacy: bool = False
    is_same_origin: bool = False


class BodyTooLargeError(InputError):
    """The body is longer than its route takes."""


class DisconnectedError(InputError):
    """The client went away before its body was complete."""


_decoder = msgspec.json.Decoder(ViewRequest)


def decode_view(body: bytes) -> ViewRequest:
    """Read a JSON body.

    Raises:
        InputError: it is none; says where.
    """
    try:
        return _decoder.decode(body)
    except RecursionError as error:
        raise InputError("the body is nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body is no view: {str(error)[:200]}") from error


def decode_query(query: bytes) -> ViewRequest:
    """Read the query of the image; of a name given twice the last one counts.

    Raises:
        InputError: it is not UTF-8 or has no site.
    """
    if len(query) > BODY_BYTES_MAX:
        raise BodyTooLargeError(f"the query is longer than {BODY_BYTES_MAX} bytes")
    try:
        text = query.decode("ascii")
        found = dict(parse_qsl(text, errors="strict", keep_blank_values=True, max_num_fields=32))
    except ValueError as error:
        raise InputError("the query is not UTF-8 in percent escapes") from error
    if "site" not in found:
        raise InputError("the query names no site")
    return ViewRequest(found["site"], found.get("page", ""), found.get("id") or None)


async def read_body(scope: Scope, receive: Receive, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Read a request's body; waits as long as the client does, the caller sets the time-out.

    Raises:
        BodyTooLargeError: without reading further.
        DisconnectedError: nobody is left to answer.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and _is_above(value, bytes_max):
            raise BodyTooLargeError(f"the body is longer than {bytes_max} bytes")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError("the client went away")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > bytes_max:
            raise BodyTooLargeError(f"the body is longer than {bytes_max} bytes")
        if not message.get("more_body", False):
            return b"".join(chunks)


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Pick the headers that matter, whatever the case of their names."""
    found = Headers()
    for name, value in raw:
        known = _SPELLINGS.get(name)
        if known is None:
            known = _learn(name)
        if known:
            _read_header(found, known, value)
    return found


def _read_header(found: Headers, name: bytes, value: bytes) -> None:
    if name == b"user-agent":
        found.user_agent = value[:USER_AGENT_LENGTH_MAX].decode("latin-1")
    elif name == b"origin":
        found.origin = value.decode("latin-1")
    elif name == b"referer":
        found.referer = value.decode("latin-1")
    elif name == b"x-forwarded-for":
        text = value.decode("latin-1")
        joined = f"{found.forwarded},{text}" if found.forwarded else text
        found.forwarded = joined[-FORWARDED_LENGTH_MAX:]
    elif name == b"authorization":
        found.authorization = value.decode("latin-1")
    elif name in _PREFETCH_HEADERS:
        lowered = value.lower()
        found.is_prefetch |= any(word in lowered for word in _PREFETCH_WORDS)
    elif name in _PRIVACY_HEADERS:
        found.asks_privacy |= value.strip() == b"1"
    elif name == b"sec-fetch-site":
        found.is_same_origin = value == b"same-origin"


def _learn(name: bytes) -> bytes:
    """Return a name in lower case if the header matters, else nothing; remember some spellings."""
    lowered = name.lower()
    known = lowered if lowered in _MATTERING else b""
    if len(_SPELLINGS) < SPELLINGS_MAX and len(name) <= SPELLING_LENGTH_MAX:
        _SPELLINGS[name] = known
    return known


_PREFETCH_HEADERS = frozenset({b"purpose", b"sec-purpose", b"x-purpose", b"x-moz"})
_PREFETCH_WORDS = (b"prefetch", b"preview", b"prerender")
"""Chromium and Safari say `prefetch` or `preview`, Firefox `X-Moz: prefetch`; Sec-Purpose: Fetch standard section 3.1."""

_PRIVACY_HEADERS = frozenset({b"dnt", b"sec-gpc"})
"""Do Not Track and Global Privacy Control: `1` asks not to be told apart."""

_MATTERING = frozenset(
    {b"user-agent", b"origin", b"referer", b"x-forwarded-for", b"authorization", b"sec-fetch-site"}
    | _PREFETCH_HEADERS
    | _PRIVACY_HEADERS
)
_SPELLINGS: dict[bytes, bytes] = {}
"""What `_learn` said of names as they were written: a browser sends fifteen headers, of which three matter."""


def _is_above(digits: bytes, limit: int) -> bool:
    """Claim that a Content-Length exceeds a limit; one that is no number is the server's to refuse."""
    return digits.isdigit() and (len(digits) > len(str(limit)) or int(digits) > limit)
