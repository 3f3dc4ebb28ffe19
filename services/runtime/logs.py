"""Logging: structlog over the standard library; JSON lines, readable lines on a terminal. Configured by the command line.

Services write to stdout; the other commands keep stdout for their answer and write warnings to stderr. Which fields there are, and what
never stands in a line, is said in docs/logging.md; `tests/unit/services/runtime/test_log_calls.py` holds every call to it.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal, TextIO

import structlog

from services.runtime.log_exception import cut_asyncio, tell_exception

REPEAT_SECONDS = 10.0
"""How often a library may say the same thing: while a broker is away aiokafka says it some forty times a second."""

REPEATS_MAX = 1_000
"""How many different sentences are remembered."""


DAMPED = ("aiokafka", "opentelemetry")
"""Libraries that say the same sentence again and again while a server is away."""

Form = Literal["auto", "json", "text"]


def configure_logging(
    service: str,
    *,
    level: int | str = logging.INFO,
    form: Form = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send structlog's and everybody else's lines to one place in one form. Never an address, a visitor or a full URL.

    Args:
        service: stands in every line.
        level: the least that is shown.
        form: `json`, `text`, or `auto`: text on a terminal.
        stream: where to; `None`: stdout.
    """
    stream = stream or sys.stdout
    is_text = stream.isatty() if form == "auto" else form == "text"

    def add_service(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        tell_exception,
        cut_asyncio,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if is_text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("aiokafka", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


class RepeatFilter(logging.Filter):
    """Lets each sentence of a damped library pass once in `REPEAT_SECONDS`; our own lines, one a change of state, all pass."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Claim that the sentence, whatever its arguments, was not said lately."""
        if not record.name.startswith(DAMPED):
            return True
        now, sentence = time.monotonic(), str(record.msg)
        if now - self._said_at.get(sentence, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        if len(self._said_at) >= REPEATS_MAX:
            self._said_at.clear()
        self._said_at[sentence] = now
        return True
