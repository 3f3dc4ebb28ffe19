"""When a certificate ends: the one date operators must not miss, read without a library for all of X.509."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

PEM_BEGIN, PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
VERSION_TAG, UTC_TIME = 0xA0, 0x17
LONG_FORM = 0x80
CENTURY_SPLIT = 50
"""Two-digit years from 50 on are of the twentieth century (RFC 5280 section 4.1.2.5.1)."""

_VALIDITY = 3
"""Where it stands after the version: serial number, algorithm, issuer, validity (RFC 5280 section 4.1)."""


class CertificateFile:
    """A certificate that somebody else serves and renews."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no certificate.
        """
        self._path = path
        self._ends_at = self._read()

    def ends_at(self) -> float:
        """Return when it ends, as the file says now (Unix seconds); as it said last while it cannot be read."""
        with suppress(OSError, ValueError):
            self._ends_at = self._read()
        return self._ends_at

    def _read(self) -> float:
        return not_after(self._path.read_text(encoding="ascii")).timestamp()


def not_after(pem: str) -> datetime:
    """Return the moment until which the first certificate of a PEM text holds.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    begin, end = pem.find(PEM_BEGIN), pem.find(PEM_END)
    if begin < 0 or end < begin:
        raise ValueError("no certificate in PEM form")
    der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(PEM_END)])
    try:
        (_, certificate) = next(_elements(der))
        (_, to_be_signed) = next(_elements(certificate))
        fields = [field for field in _elements(to_be_signed) if field[0] != VERSION_TAG]
        _, (tag, text) = _elements(fields[_VALIDITY][1])
        return _moment(tag, text.decode("ascii"))
    except (IndexError, StopIteration) as error:
        raise ValueError("not the form of a certificate (RFC 5280)") from error


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element, side by side."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & LONG_FORM:
            size = length & ~LONG_FORM
            length, at = int.from_bytes(der[at : at + size]), at + size
        if at + length > len(der):
            raise ValueError("the certificate is cut off")
        yield tag, der[at : at + length]
        at += length


def _moment(tag: int, text: str) -> datetime:
    if tag == UTC_TIME:
        text = ("19" if int(text[:2]) >= CENTURY_SPLIT else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
