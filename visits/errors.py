"""The tree of errors, by whose fault they are and whether trying again can help.

    VisitCounterError                 never raised itself
    ├── InputError (ValueError)       the caller's fault: never retried as it is
    │   ├── PageError                 a page that cannot be named
    │   ├── RecordError               a log record that cannot be read: dead letter
    │   └── DeltaError                a correction that does not add up
    ├── SettingsError                 the operator's fault: stops the start, names key, value and mend
    ├── UnavailableError              a dependency's fault: may be tried again, the outcome may be unknown
    │   ├── LogUnavailableError       Kafka or the SQLite file does not answer in time
    │   └── StoreUnavailableError     Redis or the SQLite file does not answer in time
    └── PartitionStoppedError         a named state: one partition stands still until its cause is mended

Bad input that is normal (a bot, a prefetch) is no exception but a `visits.refusal.Refusal`.
"""

from __future__ import annotations

from enum import StrEnum


class VisitCounterError(Exception):
    """The root of all errors of this project; never raised itself."""


class InputError(VisitCounterError, ValueError):
    """The caller sent something that can never be taken as it is."""


class PageError(InputError):
    """A page that is neither an absolute URL nor a path, or holds what no page may hold."""


class RecordError(InputError):
    """A record of the log that cannot be read; it goes to the dead letters."""


class DeltaError(InputError):
    """A correction or an opening balance whose amounts or spans do not add up."""


class SettingsError(VisitCounterError):
    """A setting that cannot be used; the message names the key, the value and the mend."""


class UnavailableError(VisitCounterError):
    """A dependency did not answer in time; whether the effect happened is unknown."""


class LogUnavailableError(UnavailableError):
    """The log did not acknowledge or answer in time."""


class StoreUnavailableError(UnavailableError):
    """The store did not answer in time."""


class StoppedState(StrEnum):
    """Why one partition stands still. Published in `/readyz?verbose` and `visit_counter_partition_state`."""

    WRONG_LOG = "wrong_log"
    """The log is another one than the store was counted from (recreated topic, other file, other record)."""
    LOG_GAP = "log_gap"
    """Positions are missing in the middle of the log."""
    LOG_BEHIND_STORE = "log_behind_store"
    """The store has counted further than the log reaches: the log lost its end."""
    RETENTION_LOST = "retention_lost"
    """The log no longer reaches back to the store's position."""
    STORE_CORRUPT = "store_corrupt"
    """A key of the store holds another type or something that is no number."""
    TOO_MANY_DEAD = "too_many_dead"
    """At least 1,000 records seen and more than one in ten cannot be read."""
    FUTURE_VERSION = "future_version"
    """A record, or the store itself, was written by a newer release."""


MENDS: dict[StoppedState, str] = {
    StoppedState.WRONG_LOG: "point log.url at the log the store was counted from, or run `visit-counter rebuild`",
    StoppedState.LOG_GAP: "restore the missing records of the log, or run `visit-counter rebuild --base BACKUP`",
    StoppedState.LOG_BEHIND_STORE: "restore the end of the log, or run `visit-counter rebuild`",
    StoppedState.RETENTION_LOST: "run `visit-counter rebuild --base BACKUP`, and raise the log's retention",
    StoppedState.STORE_CORRUPT: "remove or mend the named key; nothing was counted meanwhile",
    StoppedState.TOO_MANY_DEAD: "look at the dead letters: somebody else writes to this log",
    StoppedState.FUTURE_VERSION: "upgrade visit-counter to the release that wrote the record",
}
"""What an operator does about each state; the sentence stands in logs and in `/readyz?verbose`."""


class PartitionStoppedError(VisitCounterError):
    """One partition cannot go on; the others do.

    Attributes:
        state: the named state.
        detail: what was found, in one sentence, with the figures.
    """

    def __init__(self, state: StoppedState, detail: str) -> None:
        """Name the state and say what was found."""
        super().__init__(f"{state}: {detail}; {MENDS[state]}")
        self.state = state
        self.detail = detail
