"""Bearer tokens: which sites a request may write for (RFC 6750 section 2.1). A site keeps the hashes, never a token."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

CACHE_SIZE = 10_000


def authorization_of(headers: list[tuple[bytes, bytes]]) -> str:
    """Return a request's Authorization; empty where absent."""
    return next(
        (value.decode("latin-1") for name, value in headers if name == b"authorization"), ""
    )


@lru_cache(CACHE_SIZE)
def token_hash(authorization: str) -> str:
    """Return `sha256:…` of a bearer token; of anything else what no token has."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return ""
    return "sha256:" + sha256(token.strip().encode("latin-1", "replace")).hexdigest()
