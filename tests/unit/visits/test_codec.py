"""Records to bytes and back."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from tests.support.logs import NOON, as_log, logs, view
from visits.codec import FutureVersionError, LogRecord, decode_batch, decode_record, encode_record
from visits.delta import opening_spans, spread
from visits.errors import DeltaError, RecordError
from visits.fence import fingerprint
from visits.partition import partition_of
from visits.pseudonym import network_of, pseudonym
from visits.window import Range


@given(logs())
def test_what_is_written_is_read(log: list[LogRecord]) -> None:
    """decode(encode(record)) = record, for every kind."""
    for item in decode_batch(log, 0, 1).records:
        assert decode_record(encode_record(item.record)) == item.record


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_an_error(value: bytes) -> None:
    """Whatever stands in the log, decoding ends in a record or a RecordError."""
    with pytest.raises(RecordError):
        decode_record(value)


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"v":1,"kind":"view","site":"\\ud800"}',
        b"NaN",
        b'{"v":1e400}',
        b'{"v":' + b"9" * 5000 + b"}",
    ],
)
def test_hostile_values_are_errors(value: bytes) -> None:
    """Deep nesting, lone surrogates, NaN and endless numbers are RecordErrors."""
    with pytest.raises(RecordError):
        decode_record(value)


@pytest.mark.parametrize("value", [b'{"v":2,"kind":"view"}', b'{"v":1,"kind":"wink"}'])
def test_records_of_a_newer_release_are_told_from_garbage(value: bytes) -> None:
    """They stop the partition; they are never thrown away."""
    with pytest.raises(FutureVersionError):
        decode_record(value)
    decoded = decode_batch([*as_log([view()]), LogRecord(1, NOON, b"a", value)], 0, 1)
    assert len(decoded.records) == 1
    assert decoded.future is not None


@pytest.mark.parametrize(
    "change",
    [
        {"site": "Not A Site"},
        {"day": "yesterday!"},
        {"day": "2026-W48-2"},
        {"page": "no-slash"},
        {"visitor": "zzzzzzzzzzzzzzzz"},
        {"visitor": "00 00 00 00 00 0"},
    ],
)
def test_records_that_types_alone_let_through_are_dead(change: dict[str, str]) -> None:
    """Sites, days, pages and pseudonyms are checked; a bad one is a dead letter."""
    decoded = decode_batch(as_log([view(NOON, **change)]), 0, 1)
    assert len(decoded.dead) == 1
    assert not decoded.records


def test_a_record_on_a_foreign_partition_is_dead() -> None:
    """A site's records stand in its own partition only."""
    own = partition_of("a", 16)
    log = as_log([view()])
    assert not decode_batch(log, own, 16).dead
    assert len(decode_batch(log, (own + 1) % 16, 16).dead) == 1


@given(st.text(min_size=1, max_size=63), st.integers(1, 64))
def test_the_partitioner_is_kafkas(key: str, partitions: int) -> None:
    """Any Kafka client with the default partitioner puts a site where we do."""
    numbers = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key.encode(), numbers, numbers)


def test_fingerprints_tell_records_apart() -> None:
    """Position, timestamp, key and value all matter, and their borders."""
    records = [
        LogRecord(1, 2, b"k", b"v"),
        LogRecord(2, 2, b"k", b"v"),
        LogRecord(1, 3, b"k", b"v"),
        LogRecord(1, 2, b"kv", b""),
        LogRecord(1, 2, b"", b"kv"),
    ]
    assert len({fingerprint(record) for record in records}) == len(records)


def test_networks() -> None:
    """IPv4 whole, IPv6 its /64, mapped IPv4 as IPv4, zone ids dropped."""
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::1")
    with pytest.raises(ValueError, match="not"):
        network_of("not an address")


def test_pseudonyms_depend_on_every_part_and_its_borders() -> None:
    """Another salt, site, address or agent is another pseudonym; parts cannot slide into one another."""
    salt = bytes(32)
    found = {
        pseudonym(salt, "a", b"\1\2\3\4", "agent"),
        pseudonym(b"\1" * 32, "a", b"\1\2\3\4", "agent"),
        pseudonym(salt, "b", b"\1\2\3\4", "agent"),
        pseudonym(salt, "a", b"\1\2\3\5", "agent"),
        pseudonym(salt, "a", b"\1\2\3\4", "agents"),
        pseudonym(salt, "a", b"\1\2\3\4a", "gent"),
    }
    assert len(found) == 6


@given(st.integers(-(10**12), 10**12), st.integers(1, 500))
def test_spreading_keeps_the_sum(n: int, buckets: int) -> None:
    """Evenly, the remainder to the earliest, the sum exact."""
    parts = spread(n, buckets)
    assert sum(parts) == n
    assert max(parts) - min(parts) <= 1
    assert [abs(part) for part in parts] == sorted((abs(part) for part in parts), reverse=True)


def test_an_opening_balance_that_contradicts_itself_is_refused_with_both_numbers() -> None:
    """A longer window cannot show less than one within it."""
    windows = {"week": Range(70, 100), "month": Range(40, 100)}
    assert [span.n for span in opening_spans(10, {"week": 2, "month": 5}, windows)] == [2, 3, 5]
    with pytest.raises(DeltaError, match="month = 1 is less than week = 2"):
        opening_spans(10, {"week": 2, "month": 1}, windows)
    with pytest.raises(DeltaError, match="total = 1 is less than month = 5"):
        opening_spans(1, {"week": 2, "month": 5}, windows)
