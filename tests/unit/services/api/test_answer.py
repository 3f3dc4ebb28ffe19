"""In which form an answer is given."""

from __future__ import annotations

import pytest

from services.api.answer import prefers_csv


@pytest.mark.parametrize(
    ("accept", "is_csv"),
    [
        ("text/csv", True),
        ("application/json", False),
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/json;q=0.5, Text/CSV", True),
        ("text/csv;q=0.2, application/json", False),
        ("text/csv; header=present; q=0.9, application/json;q=0.1", True),
        ("text/csv;q=nonsense", False),
        (";,;q=,", False),
    ],
)
def test_accept_chooses_the_form(accept: str, is_csv: bool) -> None:
    """The heavier one wins, JSON where both weigh the same (RFC 9110 section 12.5.1)."""
    assert prefers_csv(accept) is is_csv
