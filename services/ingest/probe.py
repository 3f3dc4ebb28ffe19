"""A probe: `POST /v1/views` with `"kind": "probe"`, which `visit-counter doctor` sends (docs/wire-format.md).

It is read, recorded and appended as a view is, and changes no number. Its sender, who holds a token of the site or can read the
store's salts, is told what arrived here: the address that a view would have had, the headers it was found by, the page.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Literal

import msgspec

from services.ingest.answer import JSON, PROBLEM, Header
from services.ingest.batcher import Batcher, NotTakenError
from services.ingest.bearer import token_hash
from services.ingest.client_address import ClientFinder
from services.ingest.decision import Refused, Rules
from services.ingest.metrics import IngestMetrics
from services.ingest.request import read_headers
from services.ingest.salt import SaltKeeper
from services.runtime.clock import now_ms
from services.runtime.problem import problem_body
from services.runtime.site import Site
from visits.codec import encode_record
from visits.errors import LogUnavailableError, PageError
from visits.probe import SKEW_MS, probe_proof
from visits.record import ID_PATTERN, VERSION, Probe
from visits.refusal import HTTP_STATUS, Refusal
from visits.window import local_day

UNDER_WAY_MAX = 16
"""How many probes may wait for the log at once."""

CONNECTION_LENGTH_MAX = 200

RawHeaders = Iterable[tuple[bytes, bytes]]
Done = Callable[[int, list[Header], bytes], None]
"""Hears once how a probe is answered: status, headers, body."""


class ProbeRequest(msgspec.Struct, frozen=True):
    """A probe as its sender describes it; unknown members are ignored.

    Attributes:
        kind: says that it is one.
        site: the site's id.
        id: the probe's id.
        page: any page of the site, named back in its canonical form.
        at: the sender's clock, Unix milliseconds; needed with a proof.
        proof: `visits.probe.probe_proof`; a bearer token of the site does as well.
    """

    kind: Literal["probe"]
    site: str
    id: str
    page: str = "/"
    at: int = 0
    proof: str = ""


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer: what arrived, and where it stands in the log.

    Attributes:
        id: of the probe.
        page: as a view would be counted.
        client: the address a view would have had.
        peer: the other end of the connection.
        is_peer_trusted: claims that `server.trusted_proxies` holds the peer.
        forwarded: X-Forwarded-For as it arrived.
        connection: the header of that name, which every HTTP proxy replaces (RFC 9110 section 7.6.1).
        position: `partition:position`, absent where the log did not tell.
        log_seconds: from the queue to the log's acknowledgement.
    """

    counted: bool
    reason: Literal["probe"]
    id: str
    page: str
    client: str
    peer: str
    is_peer_trusted: bool
    forwarded: str
    connection: str
    position: str | None = None
    log_seconds: float = 0.0


_decoder = msgspec.json.Decoder(ProbeRequest)


class Probes:
    """Takes probes."""

    def __init__(
        self,
        rules: Rules,
        finder: ClientFinder,
        salts: SaltKeeper,
        batcher: Batcher,
        metrics: IngestMetrics,
        *,
        partition_of: Callable[[str], int],
        is_draining: Callable[[], bool],
    ) -> None:
        """Append through `batcher`, as views are."""
        self._rules = rules
        self._finder = finder
        self._salts = salts
        self._batcher = batcher
        self._metrics = metrics
        self._partition_of = partition_of
        self._is_draining = is_draining
        self._under_way = 0

    def take(self, peer: str, raw: RawHeaders, body: bytes, done: Done) -> None:
        """Judge a probe, append it and tell what was seen.

        Args:
            peer: the address at the other end of the connection.
            raw: all headers.
            body: what was sent.
            done: called once; may be called before this returns.
        """
        headers = list(raw)
        try:
            request = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(Refused(Refusal.MALFORMED, f"the body is no probe: {error}"), done)
            return
        site = self._rules.site(request.site)
        if isinstance(site, Refused):
            self._refuse(site, done)
            return
        refused = self._judge(request, site, headers)
        if refused is not None:
            self._refuse(refused, done)
            return
        try:
            page = site.page(request.page)
        except PageError as error:
            self._refuse(Refused(Refusal.BAD_PAGE, str(error)), done)
            return
        self._append(request, site, self._see(peer, headers, request.id, page), done)

    def _judge(
        self, request: ProbeRequest, site: Site, headers: list[tuple[bytes, bytes]]
    ) -> Refused | None:
        """Return why a probe is not taken."""
        if not ID_PATTERN.fullmatch(request.id):
            return Refused(Refusal.BAD_ID, "an id has 8 to 64 of A-Z, a-z, 0-9, '_' and '-'")
        if self._is_draining() or self._under_way >= UNDER_WAY_MAX:
            return Refused(Refusal.UNAVAILABLE, "this process takes no more now; send it again")
        if token_hash(read_headers(headers).authorization) in site.settings.tokens:
            return None
        why = self._why_no_proof(request, site)
        return Refused(Refusal.UNAUTHORIZED, why) if why else None

    def _why_no_proof(self, request: ProbeRequest, site: Site) -> str:
        """Return why a probe does not show that its sender can read the store; empty where it does."""
        if not request.proof:
            return (
                f"a probe needs Authorization: Bearer and a token of site {site.id!r}, or a proof"
            )
        skew = request.at - now_ms()
        if abs(skew) > SKEW_MS:
            return f"the sender's clock and this one differ by {skew / 1000:+.0f} s: set them right"
        salt = self._salts.salt(local_day(request.at, site.zone).isoformat())
        if salt is None:
            return "today's salt was never seen here: the store is away, or another one"
        proof = probe_proof(salt, site.id, request.id, request.at)
        if not hmac.compare_digest(proof.encode(), request.proof.encode()):
            return "the proof was made with the salt of another store than this process's store.url"
        return ""

    def _see(self, peer: str, raw: list[tuple[bytes, bytes]], probe_id: str, page: str) -> Seen:
        forwarded = read_headers(raw).forwarded
        connection = b", ".join(value for name, value in raw if name.lower() == b"connection")
        return Seen(
            counted=False,
            reason="probe",
            id=probe_id,
            page=page,
            client=self._finder.find(peer, forwarded).address,
            peer=peer,
            is_peer_trusted=self._finder.trusts(peer),
            forwarded=forwarded,
            connection=connection.decode("latin-1")[:CONNECTION_LENGTH_MAX],
        )

    def _append(self, request: ProbeRequest, site: Site, seen: Seen, done: Done) -> None:
        """Append a probe as a view is appended, and answer once the log has it."""
        now = now_ms()
        record = Probe(v=VERSION, site=site.id, id=request.id, at=now, received=now)
        begun = perf_counter()

        def settle(position: int | None, error: LogUnavailableError | None) -> None:
            self._under_way -= 1
            if error is not None:
                self._refuse(Refused(Refusal.UNAVAILABLE, str(error)), done, hop="log")
                return
            answer = msgspec.structs.replace(
                seen,
                position=None if position is None else f"{partition}:{position}",
                log_seconds=perf_counter() - begun,
            )
            done(202, JSON, msgspec.json.encode(answer))

        self._under_way += 1
        try:
            partition = self._partition_of(site.id)
            self._batcher.put(partition, site.id.encode(), encode_record(record), settle)
        except NotTakenError as error:
            settle(None, error)

    def _refuse(self, refused: Refused, done: Done, *, hop: str = "ingest") -> None:
        """Answer a problem document that also names the hop at fault."""
        self._metrics.refuse_unread(refused.reason)
        status = HTTP_STATUS[refused.reason]
        done(status, PROBLEM, problem_body(status, refused.reason.value, refused.hint, hop=hop))
