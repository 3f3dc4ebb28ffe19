"""One bounded HTTP exchange, as plain as can be: no redirects, no proxies, no retries, so that what is seen is what there is."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from services.runtime.problem import PROBLEM_TYPE

WAIT_SECONDS = 5.0
"""How long a connection, and then an answer, is waited for; ingest answers a probe within 2 s."""

BODY_BYTES_MAX = 256 * 1024

HTTPS, HTTPS_PORT, HTTP_PORT = "https", 443, 80


class Answer(Struct, frozen=True):
    """What came back.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
        body: at most `BODY_BYTES_MAX`.
        connect_seconds: until the connection stood, TLS included.
        seconds: from the request to the whole answer.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    connect_seconds: float
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def reason(self) -> str:
        """The stable reason of our own problem document; empty where this is none."""
        found = self.json.get("reason")
        is_problem = self.headers.get("content-type", "").startswith(PROBLEM_TYPE)
        return found if is_problem and isinstance(found, str) else ""

    @property
    def detail(self) -> str:
        """What a problem document says."""
        return str(self.json.get("detail", ""))


class Silence(Struct, frozen=True):
    """Nothing came back, and why."""

    why: str


def exchange(
    base: str,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    first_line: bool = False,
) -> Answer | Silence:
    """Send one request and return the answer; blocks for a bounded time.

    Args:
        base: scheme, host, port and path prefix.
        method: of HTTP.
        target: path and query under the prefix.
        body: what is sent.
        headers: sent beside `Host`.
        first_line: read no more than one line of a body that never ends.
    """
    parts = urlsplit(base)
    if parts.hostname is None:
        return Silence(f"{base!r} is no URL, e.g. https://counter.example")
    connection: http.client.HTTPConnection
    if parts.scheme == HTTPS:
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port or HTTPS_PORT, timeout=WAIT_SECONDS
        )
    else:
        connection = http.client.HTTPConnection(
            parts.hostname, parts.port or HTTP_PORT, timeout=WAIT_SECONDS
        )
    begun = time.perf_counter()
    try:
        connection.connect()
        connected = time.perf_counter()
        connection.request(method, parts.path.rstrip("/") + target, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.readline(BODY_BYTES_MAX) if first_line else response.read(BODY_BYTES_MAX)
        found = {name.lower(): value for name, value in response.getheaders()}
        done = time.perf_counter()
        return Answer(response.status, found, content, connected - begun, done - connected)
    except (OSError, http.client.HTTPException) as error:
        return Silence(_why(error))
    finally:
        connection.close()


def _why(error: OSError | http.client.HTTPException) -> str:
    """Return what an error means, in words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {WAIT_SECONDS:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    return f"{type(error).__name__}: {error}"
