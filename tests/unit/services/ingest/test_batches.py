"""`POST /v1/batches` as it is mounted, on a real log: all lines or none, the same body again, bounds, books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.backends.port import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from services.ingest import batches
from services.ingest.batch import PIECE_RECORDS_MAX, Batch, appends
from services.runtime.clock import now_ms
from tests.support.ingest import Answer, Ingest
from visits.errors import LogUnavailableError
from visits.record import Record, Tally, View
from visits.window import day_start, iso, local_day

TOKEN, BOTH = "a-token-of-demo", "a-token-of-two-sites"
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
HOUR = 3_600_000


def digest(token: str) -> str:
    return "sha256:" + sha256(token.encode()).hexdigest()


SITES: dict[str, dict[str, object]] = {
    "demo": {"tokens": [digest(TOKEN), digest(BOTH)], "pages": ["/**"], "exclude_pages": ["/x/**"]},
    "other": {"tokens": [digest(BOTH)], "identity": "storage"},
    "closed": {"tokens": [digest("closed")], "closed": "2026-01-01"},
    "bare": {},
}


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    made = Ingest(tmp_path, SITES)
    await made.start()
    yield made
    await made.stop()


def line(number: int = 0, **members: object) -> dict[str, object]:
    return {"at": now_ms(), "visitor": f"reader-{number:012d}", "page": "/a"} | members


def ndjson(lines: Sequence[object]) -> bytes:
    return b"\n".join(one if isinstance(one, bytes) else msgspec.json.encode(one) for one in lines)


async def post(ingest: Ingest, body: bytes, token: str = TOKEN, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        named["authorization"] = f"Bearer {token}"
    return await ingest.call("POST", "/v1/batches", body, named)


def views(records: list[Record]) -> list[View]:
    return [record for record in records if isinstance(record, View)]


async def test_lines_are_views_with_their_own_moment_and_reader(ingest: Ingest) -> None:
    """What a server saw hours ago is recorded for then, received now, under the pseudonym of that day."""
    now = now_ms()
    # Its last moment is at most 24 h ago, whatever the hour is now.
    yesterday = day_start(local_day(now, ZONE), ZONE) - 1
    lines = [
        line(1, at=yesterday, id="first-view"),
        line(1, at=now, page="https://any.example//b/?q=1"),
        line(2, at=now + 3 * 60_000, site="demo", kind="view", future="ignored"),
        line(at=now + 4 * 60_000, page="/x/1", visitor=None, entry=True),
    ]
    answer = await post(ingest, ndjson(lines))
    assert answer.status == 202
    assert answer.json == {"accepted": 4, "duplicates": 0, "position": "0:3"}
    first, same, ahead, private = views(await ingest.records())
    assert (first.id, first.at, first.page) == ("first-view", yesterday, "/a")
    assert [view.page for view in (same, ahead, private)] == ["/b", "/a", "(other)"]
    assert now <= first.received == private.received <= now_ms()
    assert ahead.at > ahead.received
    for view in (first, same, ahead, private):
        assert view.day == local_day(view.at, ZONE).isoformat()
    assert first.day != same.day
    assert len({first.visitor, same.visitor, ahead.visitor}) == 3
    assert (private.visitor, private.entry) == (None, True)
    assert ingest.metric("received_total", kind="view") == 4
    assert ingest.metric("acknowledged_total") == 4
    assert ingest.metric("site_views_total", site="demo") == 4


async def test_one_reader_is_one_pseudonym_a_day_however_it_comes(ingest: Ingest) -> None:
    """A reader's own id means the same person in a batch and, where the site takes it, from a browser; never the name itself."""
    name = "reader-of-one-day"
    await post(ingest, ndjson([line(visitor=name, site="other")] * 2), BOTH)
    await ingest.post({"site": "other", "page": "/", "visitor": name})
    found = {view.visitor for view in views(await ingest.records())}
    assert len(found) == 1
    assert name.encode() not in ingest.file.read_bytes()


async def test_just_after_midnight_yesterdays_pseudonym_goes_along(ingest: Ingest) -> None:
    """A visit that goes on over midnight of the event's day stays one, whenever the batch comes."""
    today = local_day(now_ms(), ZONE)
    moments = [now_ms() - minutes * 60_000 for minutes in range(0, 1440, 10)]
    await post(ingest, ndjson([line(at=at) for at in moments]))
    for view in views(await ingest.records()):
        minute = (view.at // 60_000 + 7 * 60) % 1440
        may_have = minute < 30 and view.day == today.isoformat()
        if minute >= 30:
            assert view.previous is None
        elif may_have:
            assert view.previous not in {None, view.visitor}


async def test_the_same_body_again_brings_the_same_ids(ingest: Ingest) -> None:
    """Lines without an id have one from the body, or from Idempotency-Key where there is one, and their number."""
    body = ndjson([line(), line(), line(id="own-id-of-a-line")])
    for headers in ({}, {}, {"idempotency_key": "k1"}, {"idempotency_key": "k2"}):
        assert (await post(ingest, body, **headers)).json["accepted"] == 3
    ids = [view.id for view in views(await ingest.records())]
    by_try = [ids[start : start + 3] for start in range(0, 12, 3)]
    assert by_try[0] == by_try[1]
    assert len({*by_try[0], *by_try[2], *by_try[3]}) == 2 + 2 + 2 + 1
    assert all(8 <= len(one) <= 64 for one in ids)
    # Another body under the same key is the same batch to us: the key decides.
    other = ndjson([line(page="/b"), line(page="/b")])
    await post(ingest, other, idempotency_key="k1")
    assert [view.id for view in views(await ingest.records())][12:] == by_try[2][:2]


async def test_the_order_of_the_lines_does_not_matter(ingest: Ingest) -> None:
    """An older view after a newer one would begin no visit: the log has them by their moments, ids stay with their lines."""
    now = now_ms()
    moments = [now - minutes * 60_000 for minutes in (5, 90, 10, 200, 90, 0)]
    await post(ingest, ndjson([line(at=at, page=f"/{n}") for n, at in enumerate(moments, 1)]))
    found = views(await ingest.records())
    assert [view.at for view in found] == sorted(moments)
    assert [view.page for view in found] == ["/4", "/2", "/5", "/3", "/1", "/6"]
    assert all(view.id.endswith(f"-{view.page[1:]}") for view in found)


async def test_ids_repeated_within_the_body_are_told(ingest: Ingest) -> None:
    """They go into the log all the same, where the fold finds them: received = counted + duplicate."""
    body = ndjson([line(id="same-id-1"), line(id="same-id-1"), line(id="same-id-2"), line()])
    assert (await post(ingest, body)).json == {"accepted": 3, "duplicates": 1, "position": "0:3"}
    assert len(await ingest.records()) == 4


BAD: list[tuple[object, str]] = [
    (b"{", "malformed"),
    (b"null", "malformed"),
    (b"[]", "malformed"),
    (b"\xff", "malformed"),
    (b"[" * 3000, "malformed"),
    (b'{"at":1,"visitor":"' + b"a" * 5000 + b'","page":"/"}', "too_large"),
    ({"visitor": "a" * 16, "page": "/"}, "malformed"),
    ({"at": 1, "page": "/"}, "malformed"),
    (line(visitor="a" * 15), "malformed"),
    (line(visitor="a" * 65), "malformed"),
    (line(visitor=5), "malformed"),
    (line(page=None), "malformed"),
    (line(kind="ping"), "malformed"),
    (line(own=True), "malformed"),
    (b'{"at":NaN,"visitor":"aaaaaaaaaaaaaaaa","page":"/"}', "malformed"),
    (b'{"at":1,"visitor":"aaaaaaaaaaaaaaaa\\ud800","page":"/"}', "malformed"),
    (line(at=now_ms() - 24 * HOUR - 60_000), "bad_at"),
    (line(at=now_ms() + HOUR), "bad_at"),
    (line(at=now_ms() // 1000), "bad_at"),
    (line(at="2026-11-25T08:00:00"), "bad_at"),
    (line(at="soon"), "bad_at"),
    (line(at=-(10**18)), "bad_at"),
    (line(page=""), "bad_page"),
    (line(page="tin-tuc"), "bad_page"),
    (line(page="/\x00"), "bad_page"),
    (line(id="short"), "bad_id"),
    (line(id="with space"), "bad_id"),
    (line(site="other"), "other_site"),
]


async def test_one_bad_line_and_none_is_taken(ingest: Ingest) -> None:
    """The sender learns line and reason; nothing is written, and nothing is booked but one request that was none."""
    for number, (bad, reason) in enumerate(BAD, start=1):
        answer = await post(ingest, ndjson([line(), b"", bad, line()]))
        assert answer.status == 400, bad
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["reason"] == "malformed"
        assert [(e["line"], e["reason"]) for e in answer.json["errors"]] == [(3, reason)], bad
        assert answer.json["errors"][0]["detail"]
        assert ingest.metric("refused_total", reason="malformed") == number
        assert ingest.metric("received_total", kind="unreadable") == number
    await ingest.part.drain()
    assert await ingest.records() == []
    assert ingest.metric("received_total", kind="view") == 0


async def test_the_first_hundred_bad_lines_are_named(ingest: Ingest) -> None:
    """Their number is bounded, and so is the answer."""
    answer = await post(ingest, ndjson([line(), *[b"x"] * 500]))
    assert answer.status == 400
    assert [error["line"] for error in answer.json["errors"]] == list(range(2, 102))
    assert len(answer.body) < 30_000


async def test_line_ends_of_any_system(ingest: Ingest) -> None:
    """CRLF, a last line end and blank lines are no lines of their own, but keep their numbers."""
    body = b"\r\n".join(msgspec.json.encode(line()) for _ in range(3)) + b"\r\n \r\n\r\n"
    assert (await post(ingest, body)).json["accepted"] == 3
    bad = msgspec.json.encode(line()) + b"\r\n\r\nbad\r\n"
    assert (await post(ingest, bad)).json["errors"][0]["line"] == 3


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
async def test_a_body_without_lines_is_none(ingest: Ingest, body: bytes) -> None:
    """A server that meant to send something is told that nothing came."""
    assert (await post(ingest, body)).status == 400


async def test_bounds(ingest: Ingest) -> None:
    """10,000 lines and 5 MB pass, one more does not; both are counted in one piece of answer."""
    lines = [msgspec.json.encode(line(n)) for n in range(10_000)]
    assert (await post(ingest, b"\n".join(lines) + b"\n")).json == {
        "accepted": 10_000,
        "duplicates": 0,
        "position": "0:9999",
    }
    answer = await post(ingest, b"\n".join([*lines, lines[0]]))
    assert (answer.status, answer.json["reason"]) == (413, "too_large")
    padded = b"\n".join(one[:-1] + b',"x":"' + b"a" * 600 + b'"}' for one in lines[:8_000])
    assert len(padded) > 5_000_000
    answer = await post(ingest, padded)
    assert (answer.status, answer.json["reason"]) == (413, "too_large")
    answer = await post(ingest, b"", content_length="5000001")
    assert answer.status == 413
    assert len(await ingest.records()) == 10_000


def test_appends_stay_within_the_logs_limits() -> None:
    """No piece has more records or bytes than one append takes, and together they are all records in order."""
    for size, count in ((10, 12_345), (1_000, 2_000), (BATCH_BYTES_MAX, 3), (1, 1)):
        records = [(b"k", bytes(size - 1) + bytes([n % 256])) for n in range(count)]
        pieces = list(appends(records))
        assert [record for piece in pieces for record in piece] == records
        assert all(1 <= len(piece) <= PIECE_RECORDS_MAX <= BATCH_RECORDS_MAX for piece in pieces)
        assert all(
            len(piece) == 1 or sum(len(value) for _, value in piece) <= BATCH_BYTES_MAX
            for piece in pieces
        )
    assert list(appends([])) == []


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
async def test_without_a_token_nothing_is_read(ingest: Ingest, authorization: str) -> None:
    """401 says what is asked for."""
    headers = {"authorization": authorization} if authorization else {}
    answer = await ingest.call("POST", "/v1/batches", ndjson([line()]), headers)
    assert (answer.status, answer.json["reason"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="visit-counter"'
    assert await ingest.records() == []


async def test_a_token_of_several_sites_needs_the_line_to_name_one(ingest: Ingest) -> None:
    """The first line says whose batch it is; lines of another site are bad."""
    assert (await post(ingest, ndjson([line(site="other")]), BOTH)).json["accepted"] == 1
    assert (await ingest.records())[0].site == "other"
    assert (await post(ingest, ndjson([line()]), BOTH)).status == 400
    assert (await post(ingest, ndjson([line(site="bare")]), BOTH)).status == 400
    mixed = await post(ingest, ndjson([line(site="demo"), line(site="other")]), BOTH)
    assert [error["reason"] for error in mixed.json["errors"]] == ["other_site"]


async def test_a_closed_site_takes_none(ingest: Ingest) -> None:
    """What is closed counts no more, whoever sends."""
    answer = await post(ingest, ndjson([line()]), "closed")
    assert (answer.status, answer.json["reason"]) == (404, "closed_site")


async def test_methods(ingest: Ingest) -> None:
    """Other methods are refused with what is allowed."""
    for method in ("GET", "PUT", "DELETE"):
        answer = await ingest.call(method, "/v1/batches")
        assert answer.status == 405
        assert "POST" in answer.headers["allow"]
    assert (await ingest.call("OPTIONS", "/v1/batches")).status == 204


async def test_no_bot_and_no_rate_rule(ingest: Ingest) -> None:
    """A server is a program and sends fast: its token is what it is trusted by."""
    for _ in range(3):
        answer = await post(ingest, ndjson([line(n) for n in range(400)]), user_agent="curl/8")
        assert answer.status == 202
    assert len(views(await ingest.records())) == 1_200


async def test_a_part_in_the_log_and_then_none(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 says to send the same again; the books close, and nothing is tallied that may be in the log."""
    body = ndjson([line(n) for n in range(6_000)])
    append, calls = ingest.log.append, 0

    async def once(partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise LogUnavailableError("away")
        return await append(partition, records)

    with monkeypatch.context() as patch:
        patch.setattr(ingest.log, "append", once)
        answer = await post(ingest, body)
    assert (answer.status, answer.json["reason"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "again" in answer.json["detail"]
    taken = len(await ingest.records())
    assert 0 < taken < 6_000
    assert ingest.metric("acknowledged_total") == taken
    assert ingest.metric("refused_total", reason="unavailable") == 6_000 - taken
    assert ingest.metric("received_total", kind="view") == 6_000
    assert ingest.metric("log_up") == 0
    assert (await post(ingest, body)).json["accepted"] == 6_000
    assert ingest.metric("log_up") == 1
    found = views(await ingest.records())
    assert len(found) == taken + 6_000
    assert len({view.id for view in found}) == 6_000, "the second try brings the same ids"
    await ingest.part.drain()
    assert not [record for record in await ingest.records() if isinstance(record, Tally)]


async def test_a_log_that_hangs_costs_no_more_than_the_turns(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way is bounded also past its answer: turns end with their appends, and later requests wait or are refused."""
    monkeypatch.setattr(batches, "WAIT_SECONDS_MAX", 0.05)
    hanging = asyncio.Event()
    append = ingest.log.append
    begun = 0

    async def hang(partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        nonlocal begun
        begun += 1
        await hanging.wait()
        return await append(partition, records)

    monkeypatch.setattr(ingest.log, "append", hang)
    body = ndjson([line()])
    answers = await asyncio.gather(*(post(ingest, body) for _ in range(100)))
    assert {answer.status for answer in answers} == {503}
    assert begun == batches.UNDER_WAY_MAX
    assert (await post(ingest, body)).status == 503
    assert begun == batches.UNDER_WAY_MAX, "an answered batch keeps its turn until its append ends"
    hanging.set()
    until = time.monotonic() + 10
    while (await post(ingest, body)).status != 202:
        assert time.monotonic() < until
    assert len(await ingest.records()) == begun


async def test_views_come_between_the_slices_of_a_batch(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large body is judged in slices, so that other requests get their turn."""
    order: list[str] = []
    read = Batch.read

    def note(self: Batch, lines: Sequence[bytes], first: int) -> None:
        order.append("slice")
        read(self, lines, first)

    monkeypatch.setattr(Batch, "read", note)

    async def look() -> None:
        while order.count("slice") < 10:
            order.append("other")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(post(ingest, ndjson([line()] * 10_000)))
        group.create_task(look())
    slices = [index for index, what in enumerate(order) if what == "slice"]
    assert len(slices) == 10_000 / batches.SLICE_LINES
    assert all(after - before > 1 for before, after in pairwise(slices[:9]))


async def test_described_in_the_openapi_document(ingest: Ingest) -> None:
    """Both routes stand there with an example that is taken as it is."""
    paths: dict[str, Any] = ingest.app.openapi()["paths"]
    example = paths["/v1/batches"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    raw = example["example"].replace("2026-11-24T08:00:00+07:00", iso(now_ms()))
    assert (await post(ingest, raw.encode())).status == 202
    delta = paths["/v1/sites/{site}/deltas"]["post"]["requestBody"]["content"]["application/json"]
    answer = await ingest.call(
        "POST",
        "/v1/sites/demo/deltas",
        msgspec.json.encode(delta["example"]),
        {"authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status == 202
    for path in ("/v1/batches", "/v1/sites/{site}/deltas"):
        assert {"202", "400", "401", "404", "405", "413", "503"} <= paths[path]["post"][
            "responses"
        ].keys()
