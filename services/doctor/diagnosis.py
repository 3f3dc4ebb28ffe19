"""From what was seen to what is broken: pure, one function a hop.

A hop is broken where it was seen to fail, not where the probe was missed: what stands behind a broken hop is `unknown`.
"""

from __future__ import annotations

from ipaddress import ip_address

from services.doctor.exchange import Answer, Silence
from services.doctor.fact import CONNECTION, FORGED, Facts, Ground
from services.doctor.finding import Finding, Hop, State

BAD_GATEWAY = frozenset({502, 503, 504})
"""What a gateway says when what stands behind it is away (RFC 9110 section 15.6)."""

NOT_ARRIVED = frozenset({"not_found", "method"})
"""What our services say to a request that came under another path than it was sent to."""

NGINX_ADDRESS = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
START_UP = "start `visit-counter up`, and see that log.url is right"
ODD_PAGE = "/doctor/một%2Fhai ba"
"""Its name holds what a gateway may spoil: letters beyond ASCII, an encoded slash, a space."""


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return one finding a hop, in the order of the way."""
    log, store = _log(facts), _store(facts)
    return (
        _gateway(facts),
        _ingest(facts),
        log,
        _aggregator(facts, log, store),
        store,
        _api(facts),
    )


def _gateway(facts: Facts) -> Finding:
    hop, entry = Hop.GATEWAY, facts.entry
    if entry is None:
        return Finding(hop, State.UNKNOWN, "not looked at: no --url was given")
    if isinstance(entry, Silence):
        what = f"{facts.entry_url} does not answer: {entry.why}"
        return _broken(hop, what, "start it, or mend the address")
    found = _misled(entry, "POST /v1/views") or _address_lost(entry) or _reading_misled(facts)
    if found is not None:
        return _broken(hop, *found)
    what = "none between" if entry.json.get("connection") == CONNECTION else ""
    return Finding(hop, State.OK, what, seconds=entry.connect_seconds)


def _misled(answer: Answer, request: str) -> tuple[str, str] | None:
    """Return what is wrong with a way on which a request does not arrive under its own path."""
    as_it_came = "pass the path on as it came: in nginx `proxy_pass http://HOST:PORT;`, nothing after the port"
    if answer.reason in NOT_ARRIVED:
        return f"{request} arrives under another path: it is cut or changed on the way", as_it_came
    if answer.reason or answer.status in BAD_GATEWAY or "counted" in answer.json:
        return None
    if answer.status in range(300, 400):
        where = answer.headers.get("location", "elsewhere")
        return f"{request} is sent on to {where}", "give that address as --url"
    if answer.status in range(200, 300) and "site" in answer.json:
        return None
    what = f"{request} is answered {answer.status} by something that is not visit-counter"
    return what, f"pass this path on to the services; {as_it_came}"


def _address_lost(entry: Answer) -> tuple[str, str] | None:
    """Return why ingest takes another address for the client's than the first proxy saw."""
    seen = entry.json
    if seen.get("reason") != "probe" or seen.get("connection") == CONNECTION:
        return None
    peer, client = str(seen["peer"]), str(seen["client"])
    chain = [_bare(hop) for hop in str(seen["forwarded"]).split(",") if hop.strip()]
    if chain in ([], [FORGED]):
        told = "passes X-Forwarded-For on as the client wrote it" if chain else "says no address"
        return f"it ({peer}) {told}: the client's own is lost", f"in nginx: {NGINX_ADDRESS}"
    if not seen["is_peer_trusted"]:
        what = f"it ({peer}) is not trusted: all visitors behind it are one, {client}"
        return what, f'add "{_network(peer)}" to server.trusted_proxies of ingest'
    first = chain.index(FORGED) + 1 if FORGED in chain else 0
    if client not in chain[: first + 1]:
        what = f"another proxy, {client}, is not trusted: all visitors behind it are one"
        return what, f'add "{_network(client)}" to server.trusted_proxies of ingest'
    return None


def _reading_misled(facts: Facts) -> tuple[str, str] | None:
    """Return what the way to the api spoils: path, query, or the header that lets pages read the answer."""
    reading, echo = facts.reading, facts.echo
    if not isinstance(reading, Answer):
        return None
    request = f"GET /v1/sites/{facts.site}/counters"
    misled = _misled(reading, request)
    if misled is not None or reading.reason or _is_bad_gateway(reading):
        return misled
    as_it_came = "pass the query on as it came: in nginx `proxy_pass http://HOST:PORT;`, or `$request_uri` after it"
    if facts.position is not None and "after" not in reading.json:
        return f"{request}?after= arrives without its query", as_it_came
    if isinstance(echo, Answer) and ODD_PAGE not in echo.json.get("pages", {ODD_PAGE}):
        return f"GET /v1/sites/{facts.site}/pages?page= arrives with another page", as_it_came
    if reading.headers.get("access-control-allow-origin") != "*":
        what = "the header Access-Control-Allow-Origin is lost: browsers refuse the numbers"
        return what, "pass the headers of answers on as they are"
    return None


def _ingest(facts: Facts) -> Finding:
    hop, entry = Hop.INGEST, facts.entry
    if not isinstance(entry, Answer):
        told = "not looked at: no --url was given" if entry is None else "not reached"
        return Finding(hop, State.UNKNOWN, told)
    if _is_bad_gateway(entry):
        what = f"the gateway answers {entry.status}: it cannot reach ingest"
        return _broken(hop, what, "start `visit-counter ingest`, or mend the gateway's upstream")
    if entry.json.get("hop") == "log":
        return Finding(hop, State.OK, "the probe waits for the log in vain")
    if entry.reason in NOT_ARRIVED or not (entry.reason or "counted" in entry.json):
        return Finding(hop, State.UNKNOWN, "not reached")
    return _ingest_refused(facts, entry) or _ingest_took(facts, entry)


def _ingest_refused(facts: Facts, entry: Answer) -> Finding | None:
    """Return why ingest did not take the probe."""
    if not entry.reason:
        return None
    mends = {
        "unauthorized": f"run the doctor with the services' configuration, or give a token of site {facts.site!r} as --token",
        "unknown_site": "give ingest the configuration that declares the site",
        "malformed": "let ingest be of the doctor's release",
    }
    what = f"it answers {entry.status} {entry.reason}: {entry.detail}"
    return _broken(Hop.INGEST, what, mends.get(entry.reason, "see its /readyz?verbose"))


def _ingest_took(facts: Facts, entry: Answer) -> Finding:
    """Return how ingest read the probe."""
    seen = entry.json
    if facts.page is not None and seen["page"] != facts.page:
        what = f"it counts {seen['page']!r} where this configuration says {facts.page!r}"
        return _broken(Hop.INGEST, what, "give both the same configuration of the site")
    seconds = entry.seconds - float(seen["log_seconds"])
    return Finding(Hop.INGEST, State.OK, f"takes the client for {seen['client']}", seconds=seconds)


def _log(facts: Facts) -> Finding:
    hop, ground, entry = Hop.LOG, facts.ground, facts.entry
    error = None if ground is None else ground.log_error
    if facts.position is not None:
        what = f"the probe stands at {facts.position[0]}:{facts.position[1]}"
        if error is not None:
            what += f"; from here it cannot be looked at ({error})"
        return Finding(hop, State.OK, what, seconds=facts.append_seconds)
    mend = "start the broker (or mend the file), and see that log.url is right"
    if error is not None:
        return _broken(hop, error, START_UP if ground is not None and ground.unused else mend)
    if isinstance(entry, Answer) and entry.json.get("hop") == "log":
        return _broken(hop, f"ingest says: {entry.detail}", mend)
    if ground is not None and ground.log_id is not None:
        return Finding(hop, State.OK, "answers; the probe did not get here", "", ground.log_seconds)
    return Finding(hop, State.UNKNOWN, "not reached")


def _aggregator(facts: Facts, log: Finding, store: Finding) -> Finding:
    hop, head = Hop.AGGREGATOR, facts.head
    start = (
        "start `visit-counter aggregator`; if it runs, its /readyz?verbose says why it stands still"
    )
    if facts.counted:
        return Finding(hop, State.OK, seconds=facts.count_seconds)
    if State.BROKEN in {log.state, store.state}:
        away = "the log" if log.state is State.BROKEN else "the store"
        return Finding(hop, State.UNKNOWN, f"cannot go on without {away}")
    if facts.ground is not None and facts.ground.unused:
        what = f"no service uses {facts.ground.unused}: nothing is counted"
        return _broken(hop, what, START_UP)
    if facts.position is None or facts.counted is None:
        return Finding(hop, State.UNKNOWN, "not reached")
    partition, position = facts.position
    if head is None:
        return _broken(hop, f"the probe at {partition}:{position} is not counted", start)
    what = (
        f"partition {partition} is counted to {head.fence.position}, the probe stands at {position}"
    )
    late_seconds = (facts.now - head.as_of) / 1000
    return _broken(hop, f"{what}; its last sign of life is {late_seconds:.0f} s old", start)


def _store(facts: Facts) -> Finding:
    hop, ground = Hop.STORE, facts.ground
    is_passed = isinstance(facts.reading, Answer) and facts.reading.json.get("after") is True
    if ground is None or (is_passed and ground.store_error is not None):
        told = "has passed the probe" if is_passed else "cannot be looked at from here"
        return Finding(hop, State.OK if is_passed else State.UNKNOWN, told)
    if ground.unused and ground.log_error is not None:
        return Finding(hop, State.UNKNOWN, "is the log's file")
    if ground.store_error is not None:
        return _broken(hop, ground.store_error, "start it, and see that store.url is right")
    if ground.write_error is not None:
        mend = "let store.url name the primary (Redis: ROLE, REPLICAOF NO ONE), with room and the right to write"
        return _broken(hop, f"it can be read but not written: {ground.write_error}", mend)
    differing = _differing(facts, ground)
    if differing:
        return _broken(hop, differing, "set it back, or run `visit-counter rebuild`")
    what = "" if ground.meta else "nothing was counted yet"
    return Finding(hop, State.OK, what, seconds=ground.store_seconds)


def _differing(facts: Facts, ground: Ground) -> str:
    """Return what the store was counted by, where that is not what is configured here."""
    meta = ground.meta
    if meta is None:
        return ""
    if ground.log_id is not None and meta.log_id != ground.log_id:
        return f"it was counted from log {meta.log_id}, log.url names log {ground.log_id}"
    if meta.bucket_minutes != facts.bucket_minutes:
        counted, configured = meta.bucket_minutes, facts.bucket_minutes
        return f"it was counted with store.bucket_minutes = {counted}, here it is {configured}"
    return ""


def _api(facts: Facts) -> Finding:
    hop, reading = Hop.API, facts.reading
    if reading is None or isinstance(facts.entry, Silence):
        told = "not reached" if facts.urls else "not looked at: no --url was given"
        return Finding(hop, State.UNKNOWN, told)
    if isinstance(reading, Silence):
        return _broken(hop, f"it does not answer: {reading.why}", "start `visit-counter api`")
    if _is_bad_gateway(reading):
        what = f"the gateway answers {reading.status}: it cannot reach the api"
        return _broken(hop, what, "start `visit-counter api`, or mend the gateway's upstream")
    another = "let store.url of the api name the store of the aggregator"
    mends = {
        "unknown_site": "give the api the configuration that declares the site",
        "malformed": another,
    }
    if reading.reason in mends:
        what = f"it answers {reading.status} {reading.reason}: {reading.detail}"
        return _broken(hop, what, mends[reading.reason])
    if facts.counted and reading.json.get("after") is False:
        what = "it has not seen what the store has counted: it reads another store"
        return _broken(hop, what, another)
    return _api_reads(reading)


def _api_reads(reading: Answer) -> Finding:
    """Return how the api answers where nothing is wrong with it."""
    if "site" not in reading.json:
        told = f"it answers {reading.status}: {reading.detail}" if reading.reason else "not reached"
        return Finding(Hop.API, State.UNKNOWN, told)
    what = "its numbers are marked stale" if reading.json.get("stale") else ""
    return Finding(Hop.API, State.OK, what, seconds=reading.seconds)


def _is_bad_gateway(answer: Answer) -> bool:
    """Claim that a gateway answers in the place of a service that is away."""
    return not answer.reason and answer.status in BAD_GATEWAY


def _broken(hop: Hop, what: str, mend: str) -> Finding:
    return Finding(hop, State.BROKEN, what, mend)


def _bare(hop: str) -> str:
    """Return one entry of X-Forwarded-For without port and brackets, as ingest writes addresses."""
    text = hop.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _network(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"
