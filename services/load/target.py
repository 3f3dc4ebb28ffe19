"""Where requests go: one address taken apart once."""

from __future__ import annotations

import ssl
from functools import cache
from urllib.parse import urlsplit

from msgspec import Struct

from visits.errors import SettingsError


class Target(Struct, frozen=True):
    """The base URL of a service.

    Attributes:
        host: name or address.
        port: its port.
        prefix: the path before `/v1`, without a `/` at its end.
        is_tls: https.
    """

    host: str
    port: int
    prefix: str
    is_tls: bool

    def head(self, method: str, path: str) -> bytes:
        """Return request line and Host of a request (RFC 9112 section 3)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        shown = host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"
        return f"{method} {self.prefix}{path} HTTP/1.1\r\nHost: {shown}\r\n".encode("ascii")

    def tls(self) -> ssl.SSLContext | None:
        """Return how to check the server's certificate, if it has one."""
        return _tls_context() if self.is_tls else None


def parse_target(url: str) -> Target:
    """Read a base URL.

    Raises:
        SettingsError: it is no http or https URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
        parts.path.encode("ascii")
    except ValueError:
        port = -1
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1:
        msg = f"{url!r} is no address of a service; write for example http://127.0.0.1:8080"
        raise SettingsError(msg)
    is_tls = parts.scheme == "https"
    return Target(parts.hostname, port or (443 if is_tls else 80), parts.path.rstrip("/"), is_tls)


@cache
def _tls_context() -> ssl.SSLContext:
    """Read the certificates this machine trusts once: it takes longer than a connection."""
    return ssl.create_default_context()
