"""Log lines: what is let through."""

from __future__ import annotations

import logging

import pytest

from services.runtime.logs import RepeatFilter


def record(name: str, sentence: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, sentence, arguments, None)


def test_aiokafka_says_a_sentence_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
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
