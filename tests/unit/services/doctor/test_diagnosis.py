"""From what was seen to what is broken: the hop that failed, and none behind it."""

from __future__ import annotations

import json

import pytest

from services.doctor.diagnosis import ODD_PAGE, diagnose
from services.doctor.exchange import Answer, Silence
from services.doctor.fact import CONNECTION, FORGED, Facts, Ground
from services.doctor.finding import Finding, Hop, State
from visits.fence import Fence
from visits.state import FOLD_VERSION, SCHEMA, Head, IdWindow, Meta, Parameters

META = Meta(SCHEMA, "log-a", 4, 60, FOLD_VERSION)
SEEN: dict[str, object] = {
    "counted": False,
    "reason": "probe",
    "id": "probe-0001",
    "page": ODD_PAGE,
    "client": "198.51.100.9",
    "peer": "10.0.0.2",
    "is_peer_trusted": True,
    "forwarded": f"{FORGED}, 198.51.100.9",
    "connection": "close",
    "position": "0:7",
    "log_seconds": 0.002,
}
NUMBERS: dict[str, object] = {"site": "demo", "after": True, "stale": False}


def answer(status: int, body: object, **headers: str) -> Answer:
    kind = "application/problem+json" if status >= 400 else "application/json"
    found = {"content-type": kind, "access-control-allow-origin": "*"} | headers
    return Answer(status, found, json.dumps(body).encode(), 0.001, 0.005)


def problem(status: int, reason: str, **members: object) -> Answer:
    return answer(status, {"reason": reason, "detail": "why"} | members)


def whole(**changes: object) -> Facts:
    """Return what a working system shows, but for `changes`."""
    facts = Facts(
        site="demo",
        urls=("http://gateway",),
        bucket_minutes=60,
        ground=Ground(log_id="log-a", log_seconds=0.001, store_seconds=0.001, meta=META),
        page=ODD_PAGE,
        entry_url="http://gateway",
        entry=answer(202, SEEN),
        reading=answer(200, NUMBERS),
        echo=answer(200, {"pages": {ODD_PAGE: 0}}),
        position=(0, 7),
        append_seconds=0.002,
        counted=True,
        count_seconds=0.01,
    )
    for name, value in changes.items():
        setattr(facts, name, value)
    return facts


def seen(**changes: object) -> Answer:
    return answer(202, SEEN | changes)


def broken(facts: Facts) -> dict[Hop, Finding]:
    return {one.hop: one for one in diagnose(facts) if one.state is State.BROKEN}


def test_a_working_system_is_found_so() -> None:
    """Six hops, all ok, each with its time."""
    findings = diagnose(whole())
    assert [one.hop for one in findings] == list(Hop)
    assert {one.state for one in findings} == {State.OK}
    assert all(one.seconds for one in findings)


@pytest.mark.parametrize(
    ("forwarded", "client", "trusted"),
    [
        # Overwritten by the gateway; appended to; by two gateways; the doctor's own machine is trusted too.
        ("198.51.100.9", "198.51.100.9", True),
        (f"{FORGED}, 198.51.100.9:4711", "198.51.100.9", True),
        (f"{FORGED}, [2001:db8::7]:4711, 10.0.0.3", "2001:db8::7", True),
        (f"{FORGED}, 10.0.0.9", FORGED, True),
    ],
)
def test_an_address_that_arrives(forwarded: str, client: str, trusted: bool) -> None:
    """What the first proxy saw, or what stands before it, is what ingest takes for the client."""
    entry = seen(forwarded=forwarded, client=client, is_peer_trusted=trusted)
    assert not broken(whole(entry=entry))


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"is_peer_trusted": False, "client": "10.0.0.2"}, '"10.0.0.2/32"'),
        (
            {"is_peer_trusted": False, "client": "fd00::2", "peer": "fd00::2"},
            '"fd00::2/128"',
        ),
        # The inner of two proxies is trusted, the outer one is not.
        ({"forwarded": f"{FORGED}, 198.51.100.9, 10.0.0.3", "client": "10.0.0.3"}, '"10.0.0.3/32"'),
        ({"forwarded": FORGED, "client": FORGED}, "proxy_set_header X-Forwarded-For"),
        ({"forwarded": "", "client": "10.0.0.2"}, "proxy_set_header X-Forwarded-For"),
    ],
)
def test_an_address_that_is_lost(changes: dict[str, object], mend: str) -> None:
    """The gateway is named, with the line that mends it."""
    found = broken(whole(entry=seen(**changes)))
    assert list(found) == [Hop.GATEWAY]
    assert mend in found[Hop.GATEWAY].mend


def test_without_a_proxy_no_address_can_be_lost() -> None:
    """Connection arrived as it was sent: the peer is the client, and what it claims is worth nothing."""
    entry = seen(
        connection=CONNECTION, forwarded=FORGED, client="198.51.100.9", is_peer_trusted=False
    )
    assert not broken(whole(entry=entry))


@pytest.mark.parametrize(
    ("changes", "hop"),
    [
        ({"entry": Silence("nothing listens there"), "position": None}, Hop.GATEWAY),
        ({"entry": answer(301, {}, location="https://x"), "position": None}, Hop.GATEWAY),
        ({"entry": problem(405, "method"), "position": None}, Hop.GATEWAY),
        ({"reading": problem(404, "not_found")}, Hop.GATEWAY),
        ({"reading": answer(200, {"site": "demo"})}, Hop.GATEWAY),
        ({"echo": answer(200, {"pages": {"/doctor": 0}})}, Hop.GATEWAY),
        (
            {"reading": answer(200, NUMBERS, **{"access-control-allow-origin": ""})},
            Hop.GATEWAY,
        ),
        ({"entry": Answer(502, {}, b"<html>", 0, 0), "position": None}, Hop.INGEST),
        ({"entry": problem(401, "unauthorized"), "position": None}, Hop.INGEST),
        ({"entry": problem(404, "unknown_site"), "position": None}, Hop.INGEST),
        ({"entry": problem(400, "malformed"), "position": None}, Hop.INGEST),
        ({"entry": problem(503, "unavailable", hop="ingest"), "position": None}, Hop.INGEST),
        ({"page": "/another"}, Hop.INGEST),
        ({"entry": problem(503, "unavailable", hop="log"), "position": None}, Hop.LOG),
        ({"counted": False}, Hop.AGGREGATOR),
        ({"ground": Ground(log_id="log-b", meta=META)}, Hop.STORE),
        ({"bucket_minutes": 30}, Hop.STORE),
        ({"reading": problem(404, "unknown_site")}, Hop.API),
        ({"reading": problem(400, "malformed")}, Hop.API),
        ({"reading": answer(200, NUMBERS | {"after": False})}, Hop.API),
        ({"reading": Silence("nothing listens there")}, Hop.API),
    ],
)
def test_one_fault_is_one_hop(changes: dict[str, object], hop: Hop) -> None:
    """The hop that failed is named with a mend; those behind it are not blamed."""
    found = broken(whole(**changes))
    assert list(found) == [hop]
    assert found[hop].what
    assert found[hop].mend


def test_what_waits_for_another_hop_is_not_blamed() -> None:
    """The probe is not counted, since the store or the log is away: the aggregator is not known to be broken."""
    ground = Ground(log_id="log-a", meta=META, write_error="READONLY")
    assert list(broken(whole(ground=ground, counted=False))) == [Hop.STORE]
    away = Ground(log_error="Kafka does not answer")
    facts = whole(ground=away, position=None, counted=None, reading=answer(200, NUMBERS))
    facts.entry = problem(503, "unavailable", hop="log")
    assert list(broken(facts)) == [Hop.LOG]


def test_what_cannot_be_seen_from_here_is_not_broken() -> None:
    """A probe that went all the way proves log and store, whatever this machine can reach."""
    ground = Ground(log_error="no route", store_error="no route")
    assert not broken(whole(ground=ground))
    assert not broken(whole(ground=None))


def test_the_aggregator_says_how_far_it_came() -> None:
    """Where it stands, where the probe stands, and how long it has been silent."""
    head = Head(
        generation=1,
        fence=Fence("log-a", 5, ""),
        as_of=1_000,
        log_time=1_000,
        id_window=IdWindow(0, {}, 0),
        parameters=Parameters(60, 1),
    )
    found = broken(whole(counted=False, head=head, now=31_000))[Hop.AGGREGATOR]
    assert "counted to 5, the probe stands at 7" in found.what
    assert "30 s old" in found.what


def test_an_embedded_file_nobody_counts() -> None:
    """The file is there and no service uses it: nothing is counted, and `up` is the mend."""
    ground = Ground(log_id="log-a", meta=META, unused="x.db")
    facts = whole(urls=(), entry=None, reading=None, echo=None, position=None, counted=None)
    facts.ground = ground
    found = broken(facts)
    assert list(found) == [Hop.AGGREGATOR]
    assert "visit-counter up" in found[Hop.AGGREGATOR].mend
