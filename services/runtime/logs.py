"""Logging: structlog over the standard library; JSON lines, readable lines on a terminal. Configured by the command line.

Services write to stdout; the other commands keep stdout for their answer and write warnings to stderr.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

import structlog

REPEAT_SECONDS = 10.0
"""How often aiokafka may say the same thing: while a broker is away it says it some forty times a second."""

REPEATS_MAX = 1_000
"""How many different sentences are remembered."""


def configure_logging(*, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send structlog's and everybody else's lines to one place in one form. Never an address, a visitor or a full URL.

    Args:
        level: the least that is shown.
        stream: where to; `None`: stdout.
    """
    stream = stream or sys.stdout
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if stream.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    else:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
        shared.append(structlog.processors.format_exc_info)
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
    """Lets each sentence of aiokafka pass once in `REPEAT_SECONDS`; our own lines, one a change of state, all pass."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Claim that the sentence, whatever its arguments, was not said lately."""
        if not record.name.startswith("aiokafka"):
            return True
        now, sentence = time.monotonic(), str(record.msg)
        if now - self._said_at.get(sentence, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        if len(self._said_at) >= REPEATS_MAX:
            self._said_at.clear()
        self._said_at[sentence] = now
        return True
