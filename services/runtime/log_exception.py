"""An exception as a log line shows it: files, lines and types, and its words only where they are ours.

What a stranger sent may stand in the words of any exception (`invalid literal for int(): '198.51.100.7'`), and values of local variables
are what was sent. So neither is logged; our own sentences about log, store, settings and the system's about files and sockets are.
"""

from __future__ import annotations

import sys
import traceback
from typing import cast

import structlog

from visits.errors import PartitionStoppedError, SettingsError, UnavailableError

TOLD = (UnavailableError, SettingsError, PartitionStoppedError, OSError)
"""Errors whose words are about our own surroundings, never about a request."""

FRAMES_MAX = 30
CHAIN_MAX = 8
"""The innermost frames of one exception, and exceptions of one chain or group, that are shown."""


def tell_exception(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Put `exception` in the place of `exc_info` (a structlog processor)."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = exception_text(error)
    return event


def cut_asyncio(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep the first line of what asyncio says (a structlog processor); the others write tasks out, with their exceptions' words."""
    if event.get("logger") == "asyncio":
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def exception_text(error: BaseException) -> str:
    """Return traceback and type of an exception and of those that led to it, innermost cause first."""
    return "\n".join(reversed([_one(cause) for cause in _chain(error)]))


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception, what it holds as a group, and its causes, bounded."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) < CHAIN_MAX:
        one = waiting.pop(0)
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(cast("tuple[BaseException, ...]", one.exceptions))
        waiting.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))
    return found


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]))
    words = f": {error}" if isinstance(error, TOLD) else ""
    return f"{frames}{type(error).__module__}.{type(error).__qualname__}{words}"
