"""Records to and from the bytes of the log: one JSON object each, UTF-8 (RFC 8259).

Decoding never trusts the log: whatever stands in the topic, the answer is a record, `RecordError` or `FutureVersionError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from hashlib import blake2b

import msgspec

from visits.errors import RecordError
from visits.page import OTHER
from visits.partition import partition_of
from visits.record import KINDS, SITE_PATTERN, VERSION, Ping, Record, Tally, View

# The records of a batch hold nothing that could lead back to them: with gc=False the collector passes over them by the thousand.

ID_BYTES = 8
"""Ids are kept as BLAKE2b-64 (DESIGN 3.3)."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class LogRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record as the log holds it.

    Attributes:
        position: 0 for the first record of the partition, each next one more.
        timestamp: the log's own time of the record (Unix milliseconds).
        key: the key's bytes; empty where there is none.
        value: the value's bytes; empty where there is none.
    """

    position: int
    timestamp: int
    key: bytes
    value: bytes


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A record with what is needed of it in bytes, worked out once.

    Attributes:
        record: the record.
        position: where it stands in its partition.
        id_hash: the 8 bytes under which its id is remembered; empty for kinds that are not remembered that way.
        visitor: the pseudonym's 8 bytes.
        previous: the 8 bytes of yesterday's pseudonym.
    """

    record: Record
    position: int
    id_hash: bytes
    visitor: bytes | None
    previous: bytes | None


class FutureVersionError(RecordError):
    """A record of an unknown kind or version: written by a newer release, and never skipped."""


class DeadRecord(msgspec.Struct, frozen=True):
    """A record that cannot be read, and why."""

    record: LogRecord
    reason: str


class DecodedBatch(msgspec.Struct, frozen=True):
    """What a run of records became.

    Attributes:
        records: what can be read, in log order.
        dead: what cannot.
        end: the last record taken; `None` when the very first one is of a future version.
        future: the record at which the run was cut because a newer release wrote it.
    """

    records: tuple[Decoded, ...]
    dead: tuple[DeadRecord, ...]
    end: LogRecord | None
    future: LogRecord | None


class _Header(msgspec.Struct):
    v: int
    kind: str


_decoder = msgspec.json.Decoder(Record)
_header_decoder = msgspec.json.Decoder(_Header)
_encoder = msgspec.json.Encoder()


def encode_record(record: Record) -> bytes:
    """Return the value that goes into the log; its key is the site."""
    return _encoder.encode(record)


def decode_record(value: bytes) -> Record:
    """Read one value of the log.

    Raises:
        FutureVersionError: it is an object whose kind or version this release does not know.
        RecordError: it is no record at all.
    """
    try:
        return _decoder.decode(value)  # type: ignore[no-any-return]  # msgspec types no union decoders
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _raise_if_future(value)
        msg = f"not a record: {type(error).__name__}: {str(error)[:200]}"
        raise RecordError(msg) from error


def decode_batch(records: Sequence[LogRecord], partition: int, partitions: int) -> DecodedBatch:
    """Read a run of records of one partition, up to the first one that a newer release wrote.

    Args:
        records: in log order, dense.
        partition: where they were read.
        partitions: how many partitions the log has; a record whose site belongs elsewhere is dead.
    """
    decoded: list[Decoded] = []
    dead: list[DeadRecord] = []
    end: LogRecord | None = None
    for raw in records:
        try:
            record = decode_record(raw.value)
            site_hash = _site_hash(record.site, partition, partitions)
            decoded.append(_prepare(record, raw.position, site_hash))
        except FutureVersionError:
            return DecodedBatch(tuple(decoded), tuple(dead), end, raw)
        except RecordError as error:
            dead.append(DeadRecord(raw, str(error)))
        end = raw
    return DecodedBatch(tuple(decoded), tuple(dead), end, None)


def id_hash(site: str, event_id: str) -> bytes:
    """Return the 8 bytes under which an id is remembered within its site."""
    return blake2b(f"{site}\x00{event_id}".encode(), digest_size=ID_BYTES).digest()


@lru_cache(maxsize=10_000)
def _site_hash(site: str, partition: int, partitions: int) -> blake2b:
    """Return the hash of ids of a site as it is before the id, to be copied.

    Raises:
        RecordError: the site is none, or its records belong to another partition.
    """
    if partition_of(site, partitions) != partition:
        msg = f"site {site[:63]!r} belongs to another partition"
        raise RecordError(msg)
    if SITE_PATTERN.fullmatch(site) is None:
        msg = f"{site!r} is no site id"
        raise RecordError(msg)
    return blake2b(f"{site}\x00".encode(), digest_size=ID_BYTES)


@lru_cache(maxsize=4096)
def day_number(day: str) -> int:
    """Return the days since 1970-01-01 of an ISO 8601 date.

    Raises:
        RecordError: when it is no date.
    """
    try:
        parsed = date.fromisoformat(day)
    except ValueError as error:
        msg = f"{day!r} is no ISO 8601 date"
        raise RecordError(msg) from error
    if parsed.isoformat() != day:
        msg = f"{day!r} is not written YYYY-MM-DD"
        raise RecordError(msg)
    return parsed.toordinal() - _EPOCH_ORDINAL


def header_of(value: bytes) -> str:
    """Return what a record says of itself, and nothing of a reader: kind and version; empty where it says nothing.

    Whoever logs or shows a record that cannot be read shows this, never its bytes.
    """
    header = _header(value)
    return "" if header is None else f"record of kind {header.kind[:40]!r}, version {header.v}"


def _header(value: bytes) -> _Header | None:
    try:
        return _header_decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _raise_if_future(value: bytes) -> None:
    header = _header(value)
    if header is None:
        return
    if header.v > VERSION or (header.v == VERSION and header.kind not in KINDS):
        raise FutureVersionError(f"{header_of(value)}: this release reads version {VERSION}")


def _prepare(record: Record, position: int, site_hash: blake2b) -> Decoded:
    """Check what the types cannot say and turn texts into the bytes that are stored."""
    if isinstance(record, View):
        day_number(record.day)
        if not record.page.startswith("/") and record.page != OTHER:
            msg = "a record's page is a canonical path or (other)"
            raise RecordError(msg)
        return Decoded(
            record,
            position,
            _id_hash(site_hash, record.id),
            None if record.visitor is None else _pseudonym(record.visitor),
            None if record.previous is None else _pseudonym(record.previous),
        )
    if isinstance(record, Ping):
        return Decoded(
            record,
            position,
            b"",
            None if record.visitor is None else _pseudonym(record.visitor),
            None if record.previous is None else _pseudonym(record.previous),
        )
    if isinstance(record, Tally):
        day_number(record.day)
        return Decoded(record, position, _id_hash(site_hash, record.id), None, None)
    return Decoded(record, position, b"", None, None)


def _id_hash(site_hash: blake2b, event_id: str) -> bytes:
    """Do as `id_hash` does, with the site hashed once for all of its ids."""
    digest = site_hash.copy()
    digest.update(event_id.encode())
    return digest.digest()


def _pseudonym(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        msg = "a pseudonym is 16 hexadecimal digits"
        raise RecordError(msg) from error
    if len(value) != ID_BYTES:
        msg = "a pseudonym is 16 hexadecimal digits"
        raise RecordError(msg)
    return value
