"""The fence: up to where a log is counted, and of which log (DESIGN 3.2).

A batch is applied only if the store's fence *equals* the batch's start. Equality, not "at least": after the store went back in
time a `>=` fence loses events (`tests/model/`).
"""

from __future__ import annotations

from hashlib import blake2b

from msgspec import Struct

from visits.codec import LogRecord

FINGERPRINT_BYTES = 16


class Fence(Struct, frozen=True):
    """A place in a log.

    Attributes:
        log_id: which log: Kafka's topic id, or the UUID of an SQLite log.
        position: the position of the next record to count.
        fingerprint: of the record before it, see `fingerprint`; empty at position 0.
    """

    log_id: str
    position: int
    fingerprint: str


def fingerprint(record: LogRecord) -> str:
    """Return what tells a record from any other that could stand at its position: 32 hexadecimal digits.

    BLAKE2b-128 of position, timestamp, key and value, each length-prefixed or of fixed length.
    """
    digest = blake2b(digest_size=FINGERPRINT_BYTES)
    digest.update(record.position.to_bytes(8, "big"))
    digest.update(record.timestamp.to_bytes(8, "big", signed=True))
    digest.update(len(record.key).to_bytes(4, "big"))
    digest.update(record.key)
    digest.update(record.value)
    return digest.hexdigest()


def fence_after(log_id: str, record: LogRecord) -> Fence:
    """Return the fence once `record` is counted."""
    return Fence(log_id, record.position + 1, fingerprint(record))
