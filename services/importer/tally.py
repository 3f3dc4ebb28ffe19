"""What became of every line that was read: read = counted + refused by reason."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from msgspec import Struct, field

SAMPLES_MAX = 5
"""How many lines that cannot be read are shown."""


class Reason(StrEnum):
    """Why a line does not count: a closed set."""

    NO_REQUEST = "no_request"
    """A blank line, a heading or a directive."""
    MALFORMED = "malformed"
    """Not of the file's format."""
    BEFORE = "before"
    """Before --since."""
    AFTER = "after"
    """At or after --until."""
    FUTURE = "future"
    """Later than now."""
    OPENING_BALANCE = "opening_balance"
    """Within what an opening balance carried over."""
    LIVE = "live"
    """On a day that live counting counts."""
    METHOD = "method"
    """No GET."""
    STATUS = "status"
    """Not answered 200 or 304."""
    ASSET = "asset"
    """No page (`visits.asset`)."""
    BAD_PAGE = "bad_page"
    """No page can be named so."""
    BOT = "bot"
    """A program's, by its user agent."""
    LATE = "late"
    """More than a day behind the lines before it."""
    ALREADY_IMPORTED = "already_imported"
    """Within the time of an earlier import."""


class Sample(Struct, frozen=True):
    """One line that cannot be read.

    Attributes:
        file: its file's name.
        line: its number, from 1.
        reason: what is wrong with it.
    """

    file: str
    line: int
    reason: str


class Tally(Struct):
    """The balance of one run.

    Attributes:
        read: lines.
        counted: of them.
        refused: reason → of them.
        samples: the first lines that cannot be read.
    """

    read: int = 0
    counted: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)

    def refuse_malformed(self, file: str, line: int, reason: str) -> None:
        """Book a line that cannot be read, and show it if it is among the first."""
        self.refused[Reason.MALFORMED] += 1
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(Sample(file, line, reason))
