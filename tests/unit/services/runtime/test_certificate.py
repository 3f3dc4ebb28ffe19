"""When a certificate ends, as `openssl x509 -enddate` says it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.runtime.certificate import CertificateFile, not_after

NINETY_DAYS = """\
-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUHsaqdph0BjIS/tnExSt9tVJMc+wwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPY291bnRlci5leGFtcGxlMB4XDTI2MTEyNTEzNDE0OVoXDTI3
MDIyMzEzNDE0OVowGjEYMBYGA1UEAwwPY291bnRlci5leGFtcGxlMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAESOwnnFtEAgtdKmBgSD/E+zeqs1lfA5T6WdO8MfVx
3c8I7/U/fqWDEo1jnVMu07QqL7xHFEIdSXdEjeJl0QYOaqNTMFEwHQYDVR0OBBYE
FFt4OfT8qdgpQXvQ4Szbb+EqAuHHMB8GA1UdIwQYMBaAFFt4OfT8qdgpQXvQ4Szb
b+EqAuHHMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgEKnB7FYS
bSV29DaPeCcjDENcR6DTDDMKGK3H9VUxqNQCIQDvYCrb6KD1++Tp2Q1UagOzX2av
8zFj3YTvp3XzEyod0Q==
-----END CERTIFICATE-----
"""

HUNDRED_YEARS = """\
-----BEGIN CERTIFICATE-----
MIIBizCCATGgAwIBAgIUYoYUkH/as6910Z9ns4vp6Rdm6aowCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPY291bnRlci5leGFtcGxlMCAXDTI2MTEyNTEzNDE0OVoYDzIx
MjYxMTAxMTM0MTQ5WjAaMRgwFgYDVQQDDA9jb3VudGVyLmV4YW1wbGUwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAATFOzNuN/BHesyb0DBSDtBW3R8rlh6gSlRXvA4d
gKPQWRUmsYzglMXi6fy1VjSNyxAgliOx5eo+3Fuhh+aG2iAmo1MwUTAdBgNVHQ4E
FgQUA39RfNRC1VYxRII75j9wvhzLWHMwHwYDVR0jBBgwFoAUA39RfNRC1VYxRII7
5j9wvhzLWHMwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBCnl2e
2EL8b08jM5D+Qr1/K4GP31+YQsTTugEgW397jQIhAKm+vrUUF6uEDyRreNsFYqHi
+sIeLSBlRK2k472f2c3H
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize(
    ("pem", "ends_at"),
    [
        (NINETY_DAYS, datetime(2027, 2, 23, 13, 41, 49, tzinfo=UTC)),
        (HUNDRED_YEARS, datetime(2126, 11, 1, 13, 41, 49, tzinfo=UTC)),
        # The first of a chain is the server's own.
        ("# full chain\n" + NINETY_DAYS + HUNDRED_YEARS, datetime(2027, 2, 23, 13, 41, 49, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_the_end_is_read(pem: str, ends_at: datetime) -> None:
    """Both forms of time: with two digits of the year, and from 2050 on with four."""
    assert not_after(pem) == ends_at


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIBiTCC\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_certificate_is_refused(pem: str) -> None:
    """With one kind of error, whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"certificate|PEM|padding"):
        not_after(pem)


def test_a_renewed_file_is_read_anew(tmp_path: Path) -> None:
    """While it is being replaced, what it said last holds."""
    file = tmp_path / "certificate.pem"
    file.write_text(NINETY_DAYS, encoding="ascii")
    certificate = CertificateFile(file)
    before = certificate.ends_at()
    file.write_text(NINETY_DAYS[:100], encoding="ascii")
    assert certificate.ends_at() == before
    file.unlink()
    assert certificate.ends_at() == before
    file.write_text(HUNDRED_YEARS, encoding="ascii")
    assert certificate.ends_at() == not_after(HUNDRED_YEARS).timestamp()
