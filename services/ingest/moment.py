"""Moments as programs write them: ISO 8601 with an offset, or Unix milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from visits.errors import InputError
from visits.record import MOMENT_MAX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def parse_moment(value: int | str) -> int:
    """Return a moment in Unix milliseconds.

    Raises:
        InputError: no time, no offset, before 1970 or after 2248.
    """
    moment = value if isinstance(value, int) else _parse_iso(value)
    if not 0 <= moment <= MOMENT_MAX:
        raise InputError(f"{moment} is no moment in Unix milliseconds between 1970 and 2248")
    return moment


def _parse_iso(text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            "the time is neither ISO 8601, e.g. 2026-11-24T08:00:00+07:00, nor Unix milliseconds"
        ) from error
    if parsed.tzinfo is None:
        raise InputError("the time has no offset; write it as 2026-11-24T08:00:00+07:00")
    return (parsed - _EPOCH) // _MILLISECOND
