"""Log lines: what stands in each, and what never does."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.runtime.logs import Form, RepeatFilter, configure_logging
from visits.errors import LogUnavailableError

ADDRESS = "198.51.100.77"
AGENT = "Mozilla/5.0 (a reader)"
PAGE = "/benh-vien/ket-qua-xet-nghiem"
SENT = f"{ADDRESS} {AGENT} {PAGE}"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


def configured(form: Form = "json") -> io.StringIO:
    stream = io.StringIO()
    configure_logging("ingest", form=form, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(words: str) -> None:
    """Raise as code does that was given something strange; the local variables hold it too."""
    headers = {"user-agent": words}
    try:
        int(headers["user-agent"])
    except ValueError as error:
        message = f"no number: {words}"
        raise RuntimeError(message) from error


def test_every_line_has_its_fields() -> None:
    """Ours and the libraries': event, level, logger, service, timestamp, one JSON object a line."""
    stream = configured()
    structlog.get_logger("ours").info("partition located", partition=3)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP %s\nreceived.", "request")
    ours, theirs = lines(stream)
    for line in (ours, theirs):
        assert line.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "partition located",
        "partition": 3,
        "level": "info",
        "logger": "ours",
        "service": "ingest",
    }
    assert theirs == {
        "event": "Invalid HTTP request\nreceived.",
        "level": "warning",
        "logger": "uvicorn.error",
        "service": "ingest",
    }


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("logger", ["ours", "library"])
def test_an_exception_shows_no_words_of_a_request(form: Form, logger: str) -> None:
    """Where it happened and of what type: neither words nor local variables, whoever logs it, in whatever form."""
    stream = configured(form)
    try:
        fail(SENT)
    except RuntimeError:
        if logger == "ours":
            structlog.get_logger("ours").exception("an append failed unexpectedly")
        else:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    told = stream.getvalue()
    for secret in (ADDRESS, AGENT, PAGE):
        assert secret not in told
    for shown in ("test_logs.py", "in fail", "builtins.ValueError", "builtins.RuntimeError"):
        assert shown in told


async def test_a_task_nobody_waited_for_shows_no_words() -> None:
    """What asyncio says of it writes out the task, exception and all: its first line and the traceback are enough."""
    stream = configured()
    loop = asyncio.get_running_loop()
    task = loop.create_task(asyncio.to_thread(fail, SENT))
    await asyncio.wait({task})
    loop.call_exception_handler(
        {
            "message": "Task exception was never retrieved",
            "exception": task.exception(),
            "future": task,
        }
    )
    (line,) = lines(stream)
    assert line["event"] == "Task exception was never retrieved"
    assert "RuntimeError" in line["exception"]
    assert ADDRESS not in stream.getvalue()


def test_a_group_shows_what_it_holds() -> None:
    """The exceptions of a group are told by type too."""
    stream = configured()
    group = ExceptionGroup(SENT, [ValueError(SENT), KeyError(SENT)])
    structlog.get_logger("ours").error("failed", exc_info=group)
    (line,) = lines(stream)
    assert ADDRESS not in line["exception"]
    for shown in ("ExceptionGroup", "ValueError", "KeyError"):
        assert shown in line["exception"]


def test_our_own_sentences_and_the_systems_are_told() -> None:
    """What an operator mends: a log that is away, a file that cannot be read."""
    stream = configured()
    for error in (LogUnavailableError("the disk is full"), FileNotFoundError(2, "no file", "x.db")):
        try:
            raise error
        except (LogUnavailableError, OSError):
            structlog.get_logger("ours").exception("failed")
    first, second = lines(stream)
    assert "LogUnavailableError: the disk is full" in first["exception"]
    assert "x.db" in second["exception"]


def test_text_is_for_people() -> None:
    """No JSON, and no colours where no terminal is."""
    stream = configured("text")
    structlog.get_logger("ours").warning("the log does not answer", reason="away")
    told = stream.getvalue()
    assert "the log does not answer" in told
    assert "reason=away" in told
    assert not told.startswith("{")
    assert "\x1b" not in told


def record(name: str, sentence: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, sentence, arguments, None)


def test_a_library_says_a_sentence_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away does not fill the disk with one sentence; others, and ours, pass."""
    now = 1000.0
    monkeypatch.setattr("services.runtime.logs.time.monotonic", lambda: now)
    damper = RepeatFilter()
    assert damper.filter(record("aiokafka.conn", "Unable to connect to %s", 1))
    assert not damper.filter(record("aiokafka.conn", "Unable to connect to %s", 2))
    assert damper.filter(record("aiokafka.conn", "Another sentence"))
    assert damper.filter(record("services.ingest.part", "the log does not answer"))
    assert damper.filter(record("services.ingest.part", "the log does not answer"))
    now += 10.0
    assert damper.filter(record("aiokafka.conn", "Unable to connect to %s", 3))
