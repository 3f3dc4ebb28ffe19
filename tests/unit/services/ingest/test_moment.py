"""Moments as programs write them."""

from __future__ import annotations

import pytest

from services.ingest.moment import parse_moment
from visits.errors import InputError


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        (1_764_000_000_123, 1_764_000_000_123),
        ("2025-11-24T16:00:00.123Z", 1_764_000_000_123),
        ("2025-11-24T23:00:00.123+07:00", 1_764_000_000_123),
        ("2025-11-24T23:00:00+0700", 1_764_000_000_000),
        ("2025-11-24 16:00+00:00", 1_764_000_000_000),
        ("20251124T160000Z", 1_764_000_000_000),
        ("2025-11-24T16:00:00.123999Z", 1_764_000_000_123),
        (0, 0),
    ],
)
def test_the_same_moment_in_many_spellings(written: int | str, moment: int) -> None:
    """ISO 8601 with an offset and Unix milliseconds mean the same."""
    assert parse_moment(written) == moment


@pytest.mark.parametrize(
    "written",
    ["", "now", "2025-11-24", "2025-11-24T16:00:00", "24/11/2025", "1764000000", "1969-12-31T23:59Z",
     "9999-12-31T23:59Z", "0001-01-01T00:00:00+14:00", -1, 1 << 62],
)  # fmt: skip
def test_what_is_no_moment_is_refused(written: int | str) -> None:
    """Without an offset nobody knows when it was; what lies beyond 2248 is a mistake of units."""
    with pytest.raises(InputError):
        parse_moment(written)
