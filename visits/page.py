"""The canonical name of a page: what two different spellings of one address have in common (DESIGN 2, "page").

From an absolute URL or a path: decoded once as UTF-8, NFC, `%2F %25 %3F %23` stay encoded, `//` collapses, `.` and `..` are
resolved, no trailing `/` but the root, the query dropped but for the site's keys, the fragment dropped. Canonical names are
fixed points: naming a canonical name again gives the same name.
"""

from __future__ import annotations

import re
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

from visits.errors import PageError

PAGE_BYTES_MAX = 1024
"""Above this many bytes of UTF-8 a view counts for the site and for `OTHER` (DESIGN 2)."""

OTHER = "(other)"
"""The page that holds the views of pages that have no room of their own. No path can have this name."""

_PLAIN = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)?")
"""A path that is canonical as it stands: the usual case, told without taking it apart."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://[^/?#]*", re.DOTALL)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_KEPT = re.compile(rb"%(2[Ff]|25|3[Ff]|23)")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_QUERY_ESCAPES = str.maketrans({c: f"%{ord(c):02X}" for c in "%&=#+; "})


def canonical_page(
    address: str, query_keys: frozenset[str] = frozenset(), *, ignore_case: bool = False
) -> str:
    """Return the canonical page of an absolute URL or of a path that begins with `/`.

    Args:
        address: as the client sent it.
        query_keys: the names of the query's parameters that belong to the page's name.
        ignore_case: lower the path, and know the query's keys in any case, for servers that do not tell cases apart.

    Returns:
        A path that begins with `/`, or `OTHER` when it is longer than `PAGE_BYTES_MAX`.

    Raises:
        PageError: for anything else than a URL or a path, control characters, invalid UTF-8 and lone surrogates.
    """
    if not query_keys and len(address) <= PAGE_BYTES_MAX and _PLAIN.fullmatch(address):
        return address.lower() if ignore_case else address
    path, query = _split(address)
    segments: list[str] = []
    for segment in _decode(path).split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    page = "/" + "/".join(segments)
    if ignore_case:
        page = normalize("NFC", page.lower())
    page += _kept_query(query, query_keys, ignore_case=ignore_case)
    return page if len(page.encode()) <= PAGE_BYTES_MAX else OTHER


def _split(address: str) -> tuple[str, str]:
    """Return the raw path and the raw query of an address."""
    scheme = _SCHEME.match(address)
    if scheme:
        if scheme[1].lower() not in {"http", "https"}:
            msg = "the page's URL must begin with http:// or https://"
            raise PageError(msg)
        address = address[scheme.end() :]
        if not address.startswith("/"):
            address = "/" + address
    elif not address.startswith("/"):
        msg = "a page is an absolute URL or a path that begins with '/'"
        raise PageError(msg)
    path, _, query = address.partition("#")[0].partition("?")
    return path, query


def _decode(text: str) -> str:
    """Decode percent escapes once, but for the four that would change the path's meaning."""
    if _CONTROL.search(text):
        msg = "a page holds no control characters and no lone surrogates"
        raise PageError(msg)
    raw = _ESCAPE.sub("%25", text).encode()
    raw = _KEPT.sub(lambda match: b"%25" + match[1].upper(), raw)
    return _text(unquote_to_bytes(raw))


def _text(raw: bytes) -> str:
    """Return the NFC text of decoded bytes."""
    try:
        decoded = raw.decode()
    except UnicodeDecodeError as error:
        msg = "a page's escapes decode to UTF-8"
        raise PageError(msg) from error
    if _CONTROL.search(decoded):
        msg = "a page holds no control characters, also not escaped"
        raise PageError(msg)
    return normalize("NFC", decoded)


def _kept_query(query: str, query_keys: frozenset[str], *, ignore_case: bool) -> str:
    """Return `?key=value&…` of the parameters that belong to the name, as the site spells them, sorted, or nothing."""
    if not query or not query_keys:
        return ""
    spellings = (
        {key.lower(): key for key in sorted(query_keys, reverse=True)} if ignore_case else {}
    )
    kept: list[tuple[str, str]] = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        decoded = _parameter(name)
        if decoded not in query_keys:
            decoded = spellings.get(decoded.lower(), decoded)
        if decoded in query_keys:
            kept.append((decoded, _parameter(value)))
    if not kept:
        return ""
    return "?" + "&".join(
        f"{name.translate(_QUERY_ESCAPES)}={value.translate(_QUERY_ESCAPES)}"
        for name, value in sorted(kept)
    )


def _parameter(text: str) -> str:
    """Decode a name or value of a query, where `+` is a space (HTML, application/x-www-form-urlencoded)."""
    if _CONTROL.search(text):
        msg = "a page holds no control characters and no lone surrogates"
        raise PageError(msg)
    return _text(unquote_to_bytes(text.replace("+", " ").encode()))
