"""A probe is taken from those who may send it, tells what arrived, stands in the log, and moves no number."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from tests.support.ingest import ADDRESS, Ingest
from visits.errors import LogUnavailableError
from visits.probe import SKEW_MS, probe_proof
from visits.record import Probe
from visits.window import local_day

TOKEN = "a-token"
SITES: dict[str, dict[str, object]] = {
    "demo": {"tokens": ["sha256:" + sha256(TOKEN.encode()).hexdigest()]},
    "bare": {},
}


@pytest.fixture(params=["direct", "asgi"])
async def ingest(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Ingest]:
    """The same laws hold whichever way a probe comes."""
    made = Ingest(
        tmp_path,
        SITES,
        is_direct=request.param == "direct",
        server={"trusted_proxies": ["203.0.113.0/24"]},
    )
    await made.start()
    yield made
    await made.stop()


def probe(**members: object) -> dict[str, object]:
    return {"kind": "probe", "site": "demo", "id": "probe-0001", "page": "/A/%2Fb//c"} | members


async def proven(ingest: Ingest, *, skew_ms: int = 0, **members: object) -> dict[str, object]:
    """Return a probe with the proof of who can read the store."""
    sent = probe(**members)
    site = ingest.configuration.sites[str(sent["site"])]
    at = time.time_ns() // 1_000_000 + skew_ms
    day = local_day(at, site.zone).isoformat()
    salt = (await ingest.store.salts([day])).get(day, bytes(32))
    return sent | {"at": at, "proof": probe_proof(salt, site.id, str(sent["id"]), at)}


async def test_who_holds_a_token_is_told_what_arrived(ingest: Ingest) -> None:
    """The answer names the client, the hop before, the headers and the page as they reached ingest."""
    answer = await ingest.post(
        probe(unknown=1),
        authorization=f"Bearer {TOKEN}",
        x_forwarded_for="192.0.2.1, 198.51.100.9",
        connection="close, x-mark",
    )
    assert answer.status == 202
    seen: dict[str, Any] = answer.json
    assert seen.pop("log_seconds") > 0
    assert seen == {
        "counted": False,
        "reason": "probe",
        "id": "probe-0001",
        "page": "/A/%2Fb/c",
        "client": "198.51.100.9",
        "peer": ADDRESS,
        "is_peer_trusted": True,
        "forwarded": "192.0.2.1, 198.51.100.9",
        "connection": "close, x-mark",
        "position": "0:0",
    }


async def test_it_stands_in_the_log_and_in_no_book(ingest: Ingest) -> None:
    """One record of its kind, without address or page; neither received nor refused nor acknowledged."""
    assert (await ingest.post(await proven(ingest))).status == 202
    (record,) = await ingest.records()
    assert isinstance(record, Probe)
    assert record.id == "probe-0001"
    await ingest.part.drain()
    assert len(await ingest.records()) == 1
    for line in generate_latest(ingest.registry).decode().splitlines():
        if line.startswith(
            ("visit_counter_received", "visit_counter_refused", "visit_counter_acknowledged")
        ):
            assert line.endswith(" 0.0") or "_created" in line, line


async def test_who_can_read_the_store_needs_no_token(ingest: Ingest) -> None:
    """A proof made with today's salt does, for a site without tokens too."""
    for site in ("demo", "bare"):
        assert (await ingest.post(await proven(ingest, site=site))).status == 202


async def test_strangers_are_refused(ingest: Ingest) -> None:
    """No token, a wrong one, a proof of another id, site or moment: 401, and the log stays empty."""
    good = await proven(ingest)
    at = int(str(good["at"]))
    late = await proven(ingest, skew_ms=-SKEW_MS - 5_000)
    for sent in (
        probe(),
        good | {"id": "probe-0002"},
        good | {"site": "bare"},
        good | {"at": at + 1},
        good | {"proof": "é"},
        late,
    ):
        answer = await ingest.post(sent)
        assert answer.status == 401, answer
        assert answer.json["hop"] == "ingest"
    wrong = await ingest.post(probe(), authorization="Bearer another")
    assert wrong.status == 401
    assert "+00:0" not in wrong.json["detail"]
    assert not await ingest.records()


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"site": "none"}, 404),
        ({"id": "short"}, 400),
        ({"page": "no path"}, 400),
        ({"at": "noon"}, 400),
    ],
)
async def test_what_is_no_probe_is_refused(
    ingest: Ingest, members: dict[str, object], status: int
) -> None:
    """An undeclared site, a bad id or page, a member of another type."""
    answer = await ingest.post(probe(**members), authorization=f"Bearer {TOKEN}")
    assert answer.status == status
    assert not await ingest.records()


async def test_a_log_that_is_away_is_named(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the problem says that the log is at fault."""

    async def fail(*_arguments: object) -> None:
        raise LogUnavailableError("away")

    monkeypatch.setattr(ingest.log, "append", fail)
    answer = await ingest.post(probe(), authorization=f"Bearer {TOKEN}")
    assert answer.status == 503
    assert answer.json["hop"] == "log"
