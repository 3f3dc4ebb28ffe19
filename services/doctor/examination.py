"""The order of an examination: look at log and store, send the probe, wait until it is counted, read the numbers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from urllib.parse import quote

from services.doctor.diagnosis import ODD_PAGE, diagnose
from services.doctor.exchange import Answer, Silence, exchange
from services.doctor.fact import CONNECTION, FORGED, Facts
from services.doctor.finding import Report, State
from services.doctor.ground import Surroundings
from services.runtime.clock import now_ms
from services.runtime.opening import new_id
from services.runtime.settings import Configuration
from services.runtime.site import Site
from visits.codec import encode_record
from visits.errors import VisitCounterError
from visits.partition import partition_of
from visits.probe import probe_proof
from visits.record import VERSION, Probe

HOPELESS_SECONDS = 1.0
"""How long the probe is waited for where the store was seen to take no writes."""

POLL_SECONDS = 0.01
APPEND_SECONDS = 12.0
"""How long an append from here may take: a little longer than the log's own bound."""

POSITION = re.compile(r"(\d{1,9}):(\d{1,18})")
HTTP_OK = 200
NOTE_LINES_MAX = 40


async def examine(
    site: str,
    urls: tuple[str, ...],
    token: str,
    found: Configuration | None,
    wait_seconds: float,
) -> Report:
    """Send one probe of a site all the way, and say what became of it.

    Args:
        site: whose.
        urls: ways in; the first one that takes views or serves numbers is used for each.
        token: one of the site's; empty: the store's salt is the proof.
        found: the services' configuration; `None`: only HTTP is looked at.
        wait_seconds: how long the probe may take from the log to the store before the aggregator is said to stand still.
    """
    declared = None if found is None else found.sites[site]
    bucket_minutes = 0 if found is None else found.settings.store.bucket_minutes
    facts = Facts(site=site, urls=urls, bucket_minutes=bucket_minutes, wait_seconds=wait_seconds)
    around = None
    if found is not None and declared is not None:
        around = Surroundings(found, declared)
        facts.page = declared.page(ODD_PAGE)
    try:
        return await _examine(facts, token, around, declared)
    finally:
        if around is not None:
            await around.close()


async def _examine(
    facts: Facts, token: str, around: Surroundings | None, declared: Site | None
) -> Report:
    if around is not None:
        await around.look()
        facts.ground = around.ground
    salt = None if around is None else around.salt
    if facts.urls:
        await asyncio.to_thread(_enter, facts, token, salt, declared)
    elif around is not None and declared is not None:
        await _append(facts, around, declared)
    if facts.position is not None and around is not None and around.ground.store_error is None:
        await _wait_in_store(facts, around)
    if facts.urls:
        await asyncio.to_thread(_read, facts)
    facts.now = now_ms()
    hops = diagnose(facts)
    broken = tuple(finding.hop for finding in hops if finding.state is State.BROKEN)
    notes = await asyncio.to_thread(_notes, facts)
    if around is not None and facts.counted:
        notes += await around.still_partitions()
    position = None if facts.position is None else "{}:{}".format(*facts.position)
    return Report(facts.site, not broken, broken, position, hops, tuple(notes[:NOTE_LINES_MAX]))


def _enter(facts: Facts, token: str, salt: bytes | None, declared: Site | None) -> None:
    """Send the probe as a browser sends a view, by the first way in that knows its path."""
    probe_id, at = new_id(), now_ms()
    sent = {"kind": "probe", "site": facts.site, "id": probe_id, "page": ODD_PAGE, "at": at}
    if salt is not None and declared is not None:
        sent["proof"] = probe_proof(salt, facts.site, probe_id, at)
    headers = {
        "Content-Type": "text/plain;charset=UTF-8",
        "X-Forwarded-For": FORGED,
        "Connection": CONNECTION,
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    for url in facts.urls:
        answer = exchange(url, "POST", "/v1/views", body=json.dumps(sent).encode(), headers=headers)
        if facts.entry is None or not _is_elsewhere(answer):
            facts.entry_url, facts.entry = url, answer
        if not _is_elsewhere(answer):
            break
    entry = facts.entry
    if isinstance(entry, Answer) and entry.json.get("reason") == "probe":
        match = POSITION.fullmatch(str(entry.json.get("position", "")))
        facts.position = None if match is None else (int(match[1]), int(match[2]))
        facts.append_seconds = float(entry.json["log_seconds"])


async def _append(facts: Facts, around: Surroundings, declared: Site) -> None:
    """Put the probe into the log from here, where no way in was named."""
    if around.ground.log_error is not None or around.ground.unused:
        return
    now = now_ms()
    record = Probe(v=VERSION, site=facts.site, id=new_id(), at=now, received=now)
    partition = partition_of(facts.site, around.partitions)
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(APPEND_SECONDS):
            position = await around.backends.log.append(
                partition, [(declared.id.encode(), encode_record(record))]
            )
    except (VisitCounterError, TimeoutError) as error:
        around.ground.log_error = str(error) or f"no answer within {APPEND_SECONDS:g} s"
        return
    facts.append_seconds = time.perf_counter() - begun
    facts.position = None if position is None else (partition, position)


async def _wait_in_store(facts: Facts, around: Surroundings) -> None:
    """Wait until the store's position has passed the probe."""
    assert facts.position is not None
    partition, position = facts.position
    hopeless = around.ground.write_error is not None
    begun = time.perf_counter()
    until = begun + (HOPELESS_SECONDS if hopeless else facts.wait_seconds)
    while True:
        facts.head = await around.head(partition)
        if facts.head is not None and facts.head.fence.position > position:
            facts.counted = True
            facts.count_seconds = time.perf_counter() - begun
            return
        if time.perf_counter() > until:
            facts.counted = False
            return
        await asyncio.sleep(POLL_SECONDS)


def _read(facts: Facts) -> None:
    """Ask for the site's numbers after the probe; where the store cannot be seen from here, this tells when it is counted."""
    numbers = f"/v1/sites/{facts.site}/counters"
    if facts.position is not None:
        numbers += "?after={}:{}".format(*facts.position)
    begun = time.perf_counter()
    url = ""
    for url in facts.urls:
        answer = exchange(url, "GET", numbers)
        if facts.reading is None or not _is_elsewhere(answer):
            facts.reading = answer
        if not _is_elsewhere(answer):
            break
    while facts.counted is None and _says_after(facts.reading) is False:
        if time.perf_counter() - begun > facts.wait_seconds:
            break
        facts.reading = exchange(url, "GET", numbers)
    if facts.counted is None:
        facts.counted = _says_after(facts.reading)
        facts.count_seconds = time.perf_counter() - begun
        if facts.counted:
            # That answer waited for the probe; this one shows what the api itself takes.
            facts.reading = exchange(url, "GET", numbers)
    if isinstance(facts.reading, Answer) and facts.reading.status == HTTP_OK:
        page = quote(ODD_PAGE, safe="")
        facts.echo = exchange(url, "GET", f"/v1/sites/{facts.site}/pages?page={page}")


def _notes(facts: Facts) -> list[str]:
    """Return what the services say of themselves, and whether events are held back on their way."""
    notes = []
    for url in facts.urls:
        ready = exchange(url, "GET", "/readyz?verbose")
        if isinstance(ready, Answer):
            lines = ready.body.decode("utf-8", "replace").splitlines()
            notes += [f"{url}: {line[2:]}" for line in lines if line.startswith(("- ", "+ "))]
    if isinstance(facts.reading, Answer) and facts.reading.status == HTTP_OK:
        path = f"/v1/sites/{facts.site}/stream"
        streams = [exchange(url, "GET", path, first_line=True) for url in facts.urls]
        if all(isinstance(answer, Silence) for answer in streams):
            notes.append(
                f"GET {path} brings no event: in nginx `proxy_buffering off;`, else panels do not move"
            )
    return notes


def _is_elsewhere(answer: Answer | Silence) -> bool:
    """Claim that this way in leads to a service that does not know the path, where another one may."""
    return isinstance(answer, Silence) or answer.reason in {"not_found", "method"}


def _says_after(reading: Answer | Silence | None) -> bool | None:
    found = reading.json.get("after") if isinstance(reading, Answer) else None
    return found if isinstance(found, bool) else None
