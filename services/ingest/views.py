"""The hot routes: `POST /v1/views` and `GET /v1/views.gif` (DESIGN 4.3), past FastAPI.

A request is read, decided, recorded, appended and answered here, top to bottom; FastAPI's own body parsing would refuse
`text/plain`, which spares browsers the preflight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

from services.ingest.answer import (
    Header,
    Outcome,
    answer_gif,
    answer_json,
    answer_preflight,
    direct_json,
    respond,
)
from services.ingest.arrival_watch import ArrivalWatch, Sighting
from services.ingest.batcher import Batcher, NotTakenError
from services.ingest.client_address import ClientFinder
from services.ingest.decision import Arrival, Refused, Rules
from services.ingest.local_day import Calendar
from services.ingest.metrics import IngestMetrics
from services.ingest.probe import Probes
from services.ingest.recording import Recorder
from services.ingest.request import (
    BODY_BYTES_MAX,
    BodyTooLargeError,
    DisconnectedError,
    Receive,
    Scope,
    Send,
    ViewRequest,
    decode_query,
    decode_view,
    read_body,
    read_headers,
)
from services.ingest.tally import TallyBook
from services.runtime.clock import now_ms
from services.runtime.direct import DirectRequest, head_of
from visits.codec import encode_record
from visits.errors import InputError, StoreUnavailableError, UnavailableError
from visits.record import Ping, View
from visits.refusal import Refusal

BODY_SECONDS_MAX = 5.0
"""How long a client may take over its body."""

ID_LENGTH_MAX = 64
"""How much of an id that may be none is told back."""

RawHeaders = Iterable[tuple[bytes, bytes]]
Done = Callable[[Outcome], None]


class Intake:
    """Takes one request from its parsed form to its outcome, and keeps the books."""

    def __init__(  # noqa: PLR0913  # where all pieces meet, called once
        self,
        rules: Rules,
        finder: ClientFinder,
        recorder: Recorder,
        batcher: Batcher,
        tally: TallyBook,
        calendar: Calendar,
        metrics: IngestMetrics,
        *,
        partition_of: Callable[[str], int],
        is_draining: Callable[[], bool],
        on_view: Callable[[str], None],
        watch: ArrivalWatch,
    ) -> None:
        """Put the parts together.

        Args:
            rules: what counts.
            finder: whose request it is.
            recorder: makes records.
            batcher: appends them.
            tally: books refusals of declared sites.
            calendar: the sites' local days.
            metrics: the counters of this process.
            partition_of: where a site's records go.
            is_draining: claims that nothing new is taken.
            on_view: hears the client address of every view that counts.
            watch: hears what became of the views of browsers that watch their own.
        """
        self._rules = rules
        self._finder = finder
        self._recorder = recorder
        self._batcher = batcher
        self._tally = tally
        self._calendar = calendar
        self._metrics = metrics
        self._partition_of = partition_of
        self._is_draining = is_draining
        self._on_view = on_view
        self._watch = watch

    def take(self, peer: str, raw: RawHeaders, request: ViewRequest, done: Done) -> None:
        """Decide, record and append.

        Args:
            peer: the address at the other end of the connection.
            raw: all headers.
            request: what was sent.
            done: called once: with a reason, or when the log has it. May be called before this returns.
        """
        self._metrics.received[request.kind].inc()
        if self._watch:
            done = self._watched(peer, raw, request, done)
        site = self._rules.site(request.site)
        if isinstance(site, Refused):
            done(self.refuse(site.reason, site.hint))
            return
        headers = read_headers(raw)
        client = self._finder.find(peer, headers.forwarded)
        arrival = Arrival(request, headers, client, site, monotonic())
        refused = self._rules.decide(arrival)
        if refused is not None:
            self._book(arrival, refused.reason)
            done(self.refuse(refused.reason, refused.hint, refused.retry_after_seconds))
        elif self._is_draining():
            self._book(arrival, Refusal.UNAVAILABLE)
            hint = "this process is stopping; not counted here"
            done(self.refuse(Refusal.UNAVAILABLE, hint))
        else:
            self._append(arrival, now_ms(), done)

    async def outcome(self, scope: Scope, request: ViewRequest) -> Outcome:
        """Take a request (ASGI) and return what became of it."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        peer = scope["client"]
        self.take(
            peer[0] if peer else "",
            scope["headers"],
            request,
            lambda outcome: None if future.done() else future.set_result(outcome),
        )
        return await future

    def _watched(self, peer: str, raw: RawHeaders, request: ViewRequest, done: Done) -> Done:
        """Return `done` that also tells the browser's watch, if it has one."""
        if request.kind == "ping":
            return done
        headers = read_headers(raw)
        network = self._finder.find(peer, headers.forwarded).network
        who = self._watch.who(network, headers.user_agent)

        def told(outcome: Outcome) -> None:
            name = (outcome.event_id or request.id or "")[:ID_LENGTH_MAX]
            self._watch.see(
                who,
                Sighting(
                    monotonic(), request.site, name, outcome.reason, outcome.hint, outcome.position
                ),
            )
            done(outcome)

        return told

    def refuse(self, reason: Refusal, hint: str, retry_after_seconds: int = 0) -> Outcome:
        """Count a refusal in the metrics and return it."""
        self._metrics.refused[reason].inc()
        return Outcome(reason, hint, retry_after_seconds=retry_after_seconds)

    def refuse_unreadable(self, error: InputError | TimeoutError) -> Outcome:
        """Refuse what never became a request."""
        self._metrics.received["unreadable"].inc()
        if isinstance(error, TimeoutError):
            return self.refuse(Refusal.TOO_SLOW, f"the body took over {BODY_SECONDS_MAX:.0f} s")
        if isinstance(error, BodyTooLargeError):
            return self.refuse(Refusal.TOO_LARGE, str(error))
        return self.refuse(Refusal.MALFORMED, str(error))

    def refuse_method(self, method: str) -> Outcome:
        """Refuse a method the route has not."""
        self._metrics.received["unreadable"].inc()
        return self.refuse(Refusal.METHOD, f"this address does not answer {method[:20]}")

    def _append(self, arrival: Arrival, now: int, done: Done) -> None:
        """Write the record of an accepted request."""
        site = arrival.site.id
        try:
            record = self._recorder.record(arrival, now)
            partition = self._partition_of(site)
            self._batcher.put(
                partition,
                site.encode(),
                encode_record(record),
                lambda position, error: done(
                    self._acknowledged(arrival, record, partition, position)
                    if error is None
                    else self._failed(arrival, error)
                ),
            )
        except (NotTakenError, StoreUnavailableError) as error:
            done(self._failed(arrival, error))

    def _acknowledged(
        self, arrival: Arrival, record: View | Ping, partition: int, position: int | None
    ) -> Outcome:
        """Book what the log has."""
        if isinstance(record, Ping):
            self._book(arrival, Refusal.PING)
            return self.refuse(Refusal.PING, "")
        self._metrics.acknowledge(record.site, record.received)
        self._metrics.proxies[arrival.client.proxy].inc()
        if not arrival.is_authenticated:
            self._on_view(arrival.client.address)
        return Outcome(
            event_id=record.id,
            position="" if position is None else f"{partition}:{position}",
            keepsake=arrival.keepsake,
        )

    def _failed(self, arrival: Arrival, error: UnavailableError) -> Outcome:
        """Book what the log has not, as far as that is known."""
        if isinstance(error, (NotTakenError, StoreUnavailableError)):
            self._book(arrival, Refusal.UNAVAILABLE)
            return self.refuse(Refusal.UNAVAILABLE, f"{error}; try again with the same id")
        # Not tallied: the record may be in the log, and must not stand in the books twice.
        hint = f"{error}; whether it was counted is unknown, try again with the same id"
        return self.refuse(Refusal.UNAVAILABLE, hint)

    def _book(self, arrival: Arrival, reason: Refusal) -> None:
        site = arrival.site
        self._tally.add(site.id, self._calendar.day(now_ms(), site.zone).day, reason)


class ViewsRoute:
    """`POST /v1/views`, the direct way and as ASGI application."""

    def __init__(self, intake: Intake, probes: Probes) -> None:
        """Hand views and pings to `intake`, probes to `probes`."""
        self._intake = intake
        self._probes = probes

    def direct(self, request: DirectRequest) -> None:
        """Answer one request (`services.runtime.direct`)."""

        def done(outcome: Outcome) -> None:
            request.respond(*direct_json(outcome))

        try:
            if len(request.body) > BODY_BYTES_MAX:
                raise BodyTooLargeError(f"the body is longer than {BODY_BYTES_MAX} bytes")
            view = decode_view(request.body)
        except InputError as error:
            done(self._intake.refuse_unreadable(error))
            return
        if view.kind == "probe":
            self._probes.take(
                request.peer,
                request.headers,
                request.body,
                lambda status, headers, body: request.respond(head_of(status, headers), body),
            )
            return
        self._intake.take(request.peer, request.headers, view, done)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["method"] != "POST":
            if scope["method"] == "OPTIONS":
                await answer_preflight(send)
            else:
                await answer_json(send, self._intake.refuse_method(scope["method"]))
            return
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                body = await read_body(scope, receive)
            request = decode_view(body)
        except DisconnectedError as error:
            self._intake.refuse_unreadable(error)
            return
        except (InputError, TimeoutError) as error:
            await answer_json(send, self._intake.refuse_unreadable(error))
            return
        if request.kind == "probe":
            await self._probe(scope, body, send)
            return
        await answer_json(send, await self._intake.outcome(scope, request))

    async def _probe(self, scope: Scope, body: bytes, send: Send) -> None:
        answer: asyncio.Future[tuple[int, list[Header], bytes]] = (
            asyncio.get_running_loop().create_future()
        )
        peer = scope["client"]
        self._probes.take(
            peer[0] if peer else "",
            scope["headers"],
            body,
            lambda *told: None if answer.done() else answer.set_result(told),
        )
        await respond(send, *await answer)


class GifRoute:
    """`GET /v1/views.gif`: for pages without scripts; the same decisions."""

    def __init__(self, intake: Intake) -> None:
        """Hand requests to `intake`."""
        self._intake = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        del receive
        if scope["method"] != "GET":
            if scope["method"] == "OPTIONS":
                await answer_preflight(send)
            else:
                await answer_gif(send, self._intake.refuse_method(scope["method"]))
            return
        try:
            request = decode_query(scope["query_string"])
        except InputError as error:
            await answer_gif(send, self._intake.refuse_unreadable(error))
            return
        await answer_gif(send, await self._intake.outcome(scope, request))
