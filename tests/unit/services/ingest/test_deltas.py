"""`POST /v1/sites/{site}/deltas` as it is mounted, on a real log: what is taken, and what is told at the door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from services.ingest import deltas
from services.ingest.delta import BYTES_MAX
from tests.support.ingest import Answer, Ingest
from visits.counters import Metric
from visits.errors import LogUnavailableError
from visits.record import Delta, Span

TOKEN = "a-token-of-demo"
HASH = "sha256:" + sha256(TOKEN.encode()).hexdigest()
SITES: dict[str, dict[str, object]] = {
    "demo": {"tokens": [HASH], "exclude_pages": ["/x/**"]},
    "closed": {"tokens": [HASH], "closed": "2026-01-01"},
    "bare": {},
}
HOUR = 3_600_000
DAY = 1_763_942_400_000
"""2025-11-24T00:00Z."""


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    made = Ingest(tmp_path, SITES)
    await made.start()
    yield made
    await made.stop()


async def post(
    ingest: Ingest, body: object, token: str = TOKEN, site: str = "demo", **headers: str
) -> Answer:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        named["authorization"] = f"Bearer {token}"
    return await ingest.call("POST", f"/v1/sites/{site}/deltas", raw, named)


FULL: dict[str, object] = {
    "id": "correction-of-november",
    "metric": "visits",
    "spans": [
        {"from": "2025-11-24T07:00:00+07:00", "to": DAY + 24 * HOUR, "n": 240},
        {"from": None, "to": None, "n": -7},
    ],
    "pages": {"/a/": 5, "https://any.example/a": 6, "/x/1": 7},
    "who": "webmaster",
    "why": "the old counter ran on",
    "evidence": "letter 12/2025",
    "estimated": True,
}


async def test_a_correction_stands_in_the_log_as_it_was_meant(ingest: Ingest) -> None:
    """Times and pages are turned into the record's own, all else is kept."""
    answer = await post(ingest, FULL)
    assert answer.status == 202
    assert answer.json == {
        "accepted": True,
        "id": "correction-of-november",
        "position": "0:0",
    }
    (record,) = await ingest.records()
    assert isinstance(record, Delta)
    assert record.spans == (Span(240, DAY, DAY + 24 * HOUR), Span(-7))
    assert record.pages == {"/a": 11, "(other)": 7}
    assert (record.metric, record.who, record.estimated) == (Metric.VISITS, "webmaster", True)
    assert (record.why, record.evidence) == ("the old counter ran on", "letter 12/2025")
    assert record.at == record.received > DAY
    for kind in ("view", "ping", "unreadable"):
        assert ingest.metric("received_total", kind=kind) == 0, "a correction is no view"


async def test_without_an_id_the_body_or_the_key_makes_it(ingest: Ingest) -> None:
    """A second try changes nothing; who means a second correction says so by an id or a key."""
    body = {"metric": "views", "spans": [{"from": None, "n": 1}]}
    ids = [
        (await post(ingest, body, **headers)).json["id"]
        for headers in ({}, {}, {"idempotency_key": "k1"}, {"idempotency_key": "k2"})
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    record = (await ingest.records())[0]
    assert isinstance(record, Delta)
    assert record.who == f"token {HASH[:15]}", "the ledger says which token it was"


SPAN = {"from": DAY, "to": DAY + HOUR, "n": 1}
BAD: list[tuple[object, str, str]] = [
    (b"", "malformed", "correction"),
    (b"[]", "malformed", "correction"),
    (b"\xff", "malformed", "correction"),
    (b"[" * 5000, "malformed", "correction"),
    (b'{"spans":' + b'[{"n":' * 5000, "malformed", ""),
    ({}, "malformed", "changes nothing"),
    ({"metric": "views", "spans": []}, "malformed", "changes nothing"),
    ({"metric": "views", "spans": [SPAN | {"n": 0}]}, "malformed", "changes nothing"),
    ({"pages": {"/a": 0}}, "malformed", "changes nothing"),
    ({"spans": [SPAN]}, "malformed", "metric is missing"),
    ({"metric": "online", "spans": [SPAN]}, "malformed", "online"),
    ({"metric": "views", "spans": [{"n": 1}]}, "malformed", "from"),
    ({"metric": "views", "spans": [{"start": DAY, "to": DAY + HOUR, "n": 1}]}, "malformed", "from"),
    ({"metric": "views", "spans": [{"from": DAY, "n": 1}]}, "malformed", "together"),
    ({"metric": "views", "spans": [{"from": None, "to": DAY, "n": 1}]}, "malformed", "together"),
    ({"metric": "views", "spans": [SPAN | {"from": DAY + 1}]}, "malformed", "whole number"),
    ({"metric": "views", "spans": [SPAN | {"to": DAY}]}, "malformed", "whole number"),
    ({"metric": "views", "spans": [SPAN | {"to": DAY + 10**11 * 36}]}, "malformed", "buckets"),
    ({"metric": "views", "spans": [SPAN | {"from": "2025-11-24T00:00"}]}, "malformed", "offset"),
    ({"metric": "views", "spans": [SPAN | {"from": "yesterday"}]}, "malformed", "spans[0]"),
    ({"metric": "views", "spans": [SPAN | {"n": 10**12 + 1}]}, "malformed", "1000000000000"),
    ({"metric": "views", "spans": [SPAN | {"n": -(10**12) - 1}]}, "malformed", "1000000000000"),
    ({"metric": "views", "spans": [SPAN | {"n": 1.5}]}, "malformed", "int"),
    ({"pages": {"/a": 10**13}}, "malformed", "1000000000000"),
    ({"pages": {"a": 1}}, "bad_page", "path"),
    ({"pages": {"/\x00": 1}}, "bad_page", "control"),
    (FULL | {"id": "short"}, "bad_id", "8 to 64"),
    (FULL | {"id": "with space"}, "bad_id", "8 to 64"),
    (FULL | {"who": "x" * 5000}, "malformed", "4096"),
    (FULL | {"estimated": "yes"}, "malformed", "bool"),
]


async def test_what_can_never_apply_is_told_at_the_door(ingest: Ingest) -> None:
    """400 with the reason and what to mend; the log has nothing of it."""
    for number, (body, reason, told) in enumerate(BAD, start=1):
        answer = await post(ingest, body)
        assert (answer.status, answer.json["reason"]) == (400, reason), body
        assert told in answer.json["detail"], body
        assert ingest.metric("received_total", kind="unreadable") == number
    assert await ingest.records() == []


async def test_amounts_up_to_the_limit_are_taken(ingest: Ingest) -> None:
    """10^12 is the greatest amount of one span."""
    for n in (10**12, -(10**12)):
        answer = await post(ingest, {"metric": "views", "spans": [SPAN | {"n": n}]})
        assert answer.status == 202


async def test_bodies_are_bounded(ingest: Ingest) -> None:
    """What one append takes is the most."""
    pages = {f"/{'a' * 500}/{n}": 1 for n in range(1_000)}
    answer = await post(ingest, {"pages": pages})
    assert answer.status == 202
    pages |= {f"/{'b' * 500}/{n}": 1 for n in range(100)}
    answer = await post(ingest, {"pages": pages})
    assert (answer.status, answer.json["reason"]) == (413, "too_large")
    # A page may grow by its canonical form: the record is what has to fit.
    grown = {f"/{'%' * 300}z{n}": 1 for n in range(1_000)}
    assert len(msgspec.json.encode({"pages": grown})) < BYTES_MAX
    assert (await post(ingest, {"pages": grown})).status == 413


async def test_who_may(ingest: Ingest) -> None:
    """The site's own token, nothing else; a closed site can still be corrected."""
    for token in ("", "wrong"):
        answer = await post(ingest, FULL, token)
        assert (answer.status, answer.json["reason"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert (await post(ingest, FULL, site="bare")).status == 401
    answer = await post(ingest, FULL, site="nix")
    assert (answer.status, answer.json["reason"]) == (404, "unknown_site")
    assert await ingest.records() == []
    assert (await post(ingest, FULL, site="closed")).status == 202


async def test_methods(ingest: Ingest) -> None:
    """Other methods are refused with what is allowed."""
    for method in ("GET", "PUT", "DELETE"):
        answer = await ingest.call(method, "/v1/sites/demo/deltas")
        assert answer.status == 405
        assert "POST" in answer.headers["allow"]
    assert (await ingest.call("OPTIONS", "/v1/sites/demo/deltas")).status == 204


async def test_log_away_draining_and_crowded(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 says that the same may be sent again."""

    async def away(*_arguments: object) -> int:
        raise LogUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(ingest.log, "append", away)
        answer = await post(ingest, FULL)
        assert (answer.status, answer.json["reason"]) == (503, "unavailable")
        assert "again" in answer.json["detail"]
        assert "retry-after" in answer.headers
    with monkeypatch.context() as patch:
        patch.setattr(deltas, "UNDER_WAY_MAX", 0)
        assert (await post(ingest, FULL)).status == 503
    ingest.health.draining.set()
    assert (await post(ingest, FULL)).status == 503
    assert await ingest.records() == []
