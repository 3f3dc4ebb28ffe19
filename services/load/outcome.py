"""What an answer means: counted, refused for a reason, or unknown."""

from __future__ import annotations

from enum import StrEnum

import msgspec

UNAVAILABLE_FROM = 500
ACCEPTED = 202
OK, NOT_MODIFIED = 200, 304


class Verdict(StrEnum):
    """What became of a request."""

    COUNTED = "counted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Outcome(msgspec.Struct, frozen=True):
    """What became of one request, and why.

    Attributes:
        verdict: in one word.
        reason: the service's, or `http_NNN` where it gave none; empty where counted.
    """

    verdict: Verdict
    reason: str = ""


COUNTED = Outcome(Verdict.COUNTED)
NO_ANSWER = Outcome(Verdict.UNKNOWN, "no_answer")


class _Answer(msgspec.Struct):
    """The members that matter of an answer to a view, or of a problem document."""

    counted: bool = False
    reason: str = ""


_decoder = msgspec.json.Decoder(_Answer)


def judge_view(status: int, body: bytes) -> Outcome:
    """Say what the answer to a view means.

    From 500 on it is unknown whether the view is in the log: the service, or a proxy before it, gave up waiting.
    """
    if status == ACCEPTED and body.startswith(b'{"counted":true'):
        return COUNTED
    try:
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = _Answer()
    if status == ACCEPTED and answer.counted:
        return COUNTED
    verdict = Verdict.REFUSED if status < UNAVAILABLE_FROM else Verdict.UNKNOWN
    return Outcome(verdict, answer.reason or f"http_{status}")


def judge_read(status: int, body: bytes) -> Outcome:
    """Say what the answer to a reader means; `COUNTED` stands for an answer with the numbers."""
    del body
    if status in {OK, NOT_MODIFIED}:
        return COUNTED
    return Outcome(Verdict.REFUSED, f"http_{status}")
