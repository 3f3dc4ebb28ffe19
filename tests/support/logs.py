"""Logs made of real records, for tests of the fold and of the stores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from visits.codec import LogRecord, encode_record
from visits.counters import HOUR_MS, MINUTE_MS, Metric
from visits.record import VERSION, Delta, Ping, Record, Span, Tally, View

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
NOON = round(datetime(2026, 11, 24, 12, tzinfo=ZONE).timestamp() * 1000)


def day_of(at: int) -> str:
    """Return the local date of a moment in Vietnam."""
    return datetime.fromtimestamp(at / 1000, ZONE).date().isoformat()


def view(at: int = NOON, **values: Any) -> View:  # fields of the record
    """Return a view with sensible values."""
    given: dict[str, Any] = {
        "v": VERSION,
        "site": "a",
        "id": f"id-{at:013d}",
        "at": at,
        "received": at,
        "day": day_of(at),
        "page": "/",
        "visitor": "00000000000000aa",
    }
    return View(**(given | values))


def ping(at: int, **values: Any) -> Ping:  # fields of the record
    """Return a ping with sensible values."""
    given: dict[str, Any] = {
        "v": VERSION,
        "site": "a",
        "id": f"ping-{at:013d}",
        "at": at,
        "received": at,
        "day": day_of(at),
        "visitor": "00000000000000aa",
    }
    return Ping(**(given | values))


def as_log(records: Sequence[Record | bytes], first: int = 0) -> list[LogRecord]:
    """Return records as the log holds them from position `first`; bytes are values that are no records."""
    log = []
    for position, record in enumerate(records, start=first):
        if isinstance(record, bytes):
            log.append(LogRecord(position, NOON, b"", record))
        else:
            log.append(
                LogRecord(position, record.received, record.site.encode(), encode_record(record))
            )
    return log


_SITES = st.sampled_from(["a", "b"])
_PAGES = st.sampled_from(["/", "/x", "/y/1", "/y/2", "(other)"])
_READERS = st.sampled_from([None, *(f"{n:016x}" for n in range(4))])
_IDS = st.integers(0, 12).map(lambda n: f"event-{n:03d}")


@st.composite
def logs(draw: st.DrawFn, size_max: int = 30) -> list[LogRecord]:
    """Draw a log of all kinds of records, with repeats, late events, garbage and jumps of time."""
    now = NOON
    records: list[Record | bytes] = []
    for index in range(draw(st.integers(1, size_max))):
        now += draw(
            st.sampled_from(
                [
                    0,
                    1,
                    1000,
                    10_000,
                    29 * MINUTE_MS,
                    31 * MINUTE_MS,
                    HOUR_MS,
                    11 * HOUR_MS,
                    51 * HOUR_MS,
                ]
            )
        )
        at = now - draw(st.sampled_from([0, 0, 0, 5, MINUTE_MS, HOUR_MS, 23 * HOUR_MS]))
        site = draw(_SITES)
        kind = draw(
            st.sampled_from(["view"] * 6 + ["ping", "ping", "delta", "forget", "tally", "garbage"])
        )
        common: dict[str, Any] = {"site": site, "at": at, "received": now}
        if kind == "view":
            records.append(
                View(
                    v=VERSION,
                    id=draw(_IDS),
                    page=draw(_PAGES),
                    visitor=draw(_READERS),
                    previous=draw(_READERS),
                    day=day_of(at),
                    entry=draw(st.booleans()),
                    **common,
                )
            )
        elif kind == "ping":
            records.append(
                Ping(
                    v=VERSION,
                    id=f"p-{index}",
                    day=day_of(at),
                    visitor=draw(_READERS),
                    previous=draw(_READERS),
                    **common,
                )
            )
        elif kind == "delta":
            start = at // HOUR_MS * HOUR_MS
            span = draw(
                st.sampled_from(
                    [
                        Span(3),
                        Span(5, start, start + HOUR_MS),
                        Span(-2, start, start + 3 * HOUR_MS),
                        Span(50, start - 72 * HOUR_MS, start),
                    ]
                )
            )
            records.append(
                Delta(
                    v=VERSION,
                    id=draw(st.sampled_from(["d-1", "d-2", "d-3", "d-4"])),
                    metric=draw(st.sampled_from(list(Metric))),
                    spans=(span,),
                    pages=draw(st.sampled_from([{}, {"/x": 2}, {"/new": 1}, {"/y/1": -1}])),
                    why="test",
                    **common,
                )
            )
        elif kind == "forget":
            pattern = draw(st.sampled_from(["/y/**", "/x", "/**", "nonsense"]))
            records.append(Delta(v=VERSION, id=f"f-{index}", forget=pattern, why="test", **common))
        elif kind == "tally":
            records.append(
                Tally(
                    v=VERSION,
                    id=draw(_IDS),
                    day=day_of(at),
                    refused={"bot": draw(st.integers(0, 5))},
                    **common,
                )
            )
        else:
            records.append(
                draw(st.sampled_from([b"", b"{}", b"\xff", b"[1]", b'{"v":1,"kind":"view"}']))
            )
    return as_log(records)
