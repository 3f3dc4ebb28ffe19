"""`POST /v1/batches` as bare ASGI: a body is read whole, judged whole, and appended in as few pieces as the log takes (DESIGN 4.3).

Past the batcher: one body fills appends by itself, and a future a line would cost more than the line. How many bodies are under way
at once is bounded, and with it the memory; between two slices of a body other requests get their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

from msgspec import json

from services.ingest.answer import JSON, PROBLEM, Outcome, answer_json, answer_preflight, respond
from services.ingest.appending import Appender
from services.ingest.batch import (
    BYTES_MAX,
    FAULTS_MAX,
    LINES_MAX,
    Batch,
    Fault,
    appends,
    id_stem,
    named_site,
)
from services.ingest.batcher import OnOutcome
from services.ingest.bearer import authorization_of, token_hash
from services.ingest.metrics import IngestMetrics
from services.ingest.request import (
    BodyTooLargeError,
    DisconnectedError,
    Receive,
    Scope,
    Send,
    read_body,
)
from services.ingest.salt import SaltKeeper
from services.runtime.clock import now_ms
from services.runtime.problem import problem_body
from services.runtime.site import Site
from services.runtime.site_table import SiteTable
from visits.errors import InputError, LogUnavailableError, UnavailableError
from visits.refusal import HTTP_STATUS, Refusal

UNDER_WAY_MAX = 8
"""How many bodies are read, judged or appended at once: 8 of 5 MB, and their records, are what memory is planned for."""

WAITING_MAX = 64
"""How many requests may wait for one of them to end; their bodies are not read yet."""

WAIT_SECONDS_MAX = 2.0
"""How long a request waits for its turn, and how long for one append (DESIGN 3.4)."""

BODY_SECONDS_MAX = 30.0
"""How long a client may take over its body: 5 MB at 1.4 Mbit/s."""

SLICE_LINES = 100
"""How many lines are judged without a pause, and by one body at a time: about 0.4 ms by which a view may be held up."""

AGAIN = "send the same body again: no line counts twice"


class Turns:
    """Lets a bounded number of bodies be under way; a turn lasts until its last append is over, answered or not."""

    def __init__(self) -> None:
        """Begin with none under way."""
        self._free = asyncio.Semaphore(UNDER_WAY_MAX)
        self._waiting = 0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[list[asyncio.Task[int | None]]]:
        """Take a turn; tasks put into the list prolong it.

        Raises:
            LogUnavailableError: no turn came in time.
        """
        if self._waiting >= WAITING_MAX:
            raise LogUnavailableError("too many batches are under way")
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._free.acquire()
        except TimeoutError as error:
            raise LogUnavailableError("too many batches are under way") from error
        finally:
            self._waiting -= 1
        tasks: list[asyncio.Task[int | None]] = []
        try:
            yield tasks
        finally:
            if tasks and not tasks[-1].done():
                tasks[-1].add_done_callback(lambda _task: self._free.release())
            else:
                self._free.release()


class BatchesRoute:
    """`POST /v1/batches`."""

    def __init__(
        self,
        sites: SiteTable,
        salts: SaltKeeper,
        event_log: Appender,
        metrics: IngestMetrics,
        *,
        partition_of: Callable[[str], int],
        is_draining: Callable[[], bool],
        on_append: OnOutcome,
    ) -> None:
        """Append to `event_log`; `on_append` hears of every append: its partition, and `None` or its error."""
        self._sites = sites
        self._salts = salts
        self._log = event_log
        self._metrics = metrics
        self._partition_of = partition_of
        self._is_draining = is_draining
        self._on_append = on_append
        self._turns = Turns()
        self._judging = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["method"] == "OPTIONS":
            await answer_preflight(send)
            return
        if scope["method"] != "POST":
            told = f"this address does not answer {scope['method'][:20]}"
            await self._refuse(send, Refusal.METHOD, told)
            return
        sites = self._sites.opened_by(token_hash(authorization_of(scope["headers"])))
        if not sites:
            told = "a batch needs Authorization: Bearer and a token; `visit-counter token new --site S` makes one"
            await self._refuse(send, Refusal.UNAUTHORIZED, told)
            return
        if self._is_draining():
            await self._refuse(send, Refusal.UNAVAILABLE, f"this process is stopping; {AGAIN}")
            return
        try:
            async with self._turns.take() as tasks:
                await self._take(scope, receive, send, sites, tasks)
        except DisconnectedError:
            self._metrics.refuse_unread(Refusal.MALFORMED)
        except BodyTooLargeError as error:
            await self._refuse(send, Refusal.TOO_LARGE, str(error))
        except TimeoutError:
            told = f"the body took over {BODY_SECONDS_MAX:.0f} s"
            await self._refuse(send, Refusal.TOO_SLOW, told)
        except InputError as error:
            await self._refuse(send, Refusal.MALFORMED, str(error))
        except UnavailableError as error:
            await self._refuse(send, Refusal.UNAVAILABLE, f"{error}; {AGAIN}")

    async def _take(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        sites: Sequence[Site],
        tasks: list[asyncio.Task[int | None]],
    ) -> None:
        """Read, judge and append one body whose token opens `sites`."""
        async with asyncio.timeout(BODY_SECONDS_MAX):
            body = await read_body(scope, receive, BYTES_MAX)
        now = now_ms()
        if body.count(b"\n") + (not body.endswith(b"\n")) > LINES_MAX:
            raise BodyTooLargeError(f"the body has more than {LINES_MAX} lines")
        lines = body.split(b"\n")
        site = _site_of(sites, lines)
        if site.settings.closed:
            told = f"site {site.id!r} is closed and counts no more"
            await self._refuse(send, Refusal.CLOSED_SITE, told)
            return
        key = next((v for name, v in scope["headers"] if name == b"idempotency-key"), b"")
        stem = id_stem(site.id, key.decode("latin-1"), body)
        batch = Batch(site, self._salts, now, stem)
        async with self._judging:
            for start in range(0, len(lines), SLICE_LINES):
                batch.read(lines[start : start + SLICE_LINES], start + 1)
                if len(batch.faults) >= FAULTS_MAX:
                    break
                await asyncio.sleep(0)
        if batch.faults:
            await self._refuse_lines(send, batch.faults)
            return
        records = batch.records
        if not records:
            raise InputError("the body holds no line")
        await self._append(send, site, records, batch.duplicates, now, tasks)

    async def _append(  # one body's last step, with all that is known of it
        self,
        send: Send,
        site: Site,
        records: Sequence[tuple[bytes, bytes]],
        duplicates: int,
        now: int,
        tasks: list[asyncio.Task[int | None]],
    ) -> None:
        """Append all records, piece by piece, and answer with the last one's position."""
        partition = self._partition_of(site.id)
        position: int | None = None
        left = len(records)
        self._metrics.received["view"].inc(left)
        try:
            for piece in appends(records):
                began = monotonic()
                first = await self._append_piece(partition, piece, tasks)
                seconds = monotonic() - began
                self._metrics.measure_append(len(piece), seconds, seconds)
                position = None if first is None else first + len(piece) - 1
                self._metrics.acknowledge(site.id, now, len(piece))
                left -= len(piece)
        except LogUnavailableError:
            # Not tallied: whether the rest is in the log is unknown, and its sender comes again with the same ids.
            self._metrics.refused[Refusal.UNAVAILABLE].inc(left)
            told = f"the log did not acknowledge {left} of {len(records)} lines; {AGAIN}"
            await answer_json(send, Outcome(Refusal.UNAVAILABLE, told))
            return
        answer: dict[str, object] = {
            "accepted": len(records) - duplicates,
            "duplicates": duplicates,
        }
        if position is not None:
            answer["position"] = f"{partition}:{position}"
        await respond(send, 202, JSON, json.encode(answer))

    async def _append_piece(
        self,
        partition: int,
        piece: Sequence[tuple[bytes, bytes]],
        tasks: list[asyncio.Task[int | None]],
    ) -> int | None:
        """Append what fits into one append; past its time it goes on unheard, as a cancelled one would cost others theirs.

        Raises:
            LogUnavailableError: not acknowledged in time.
        """
        task = asyncio.create_task(self._log.append(partition, piece), name="batch-append")
        tasks.append(task)
        task.add_done_callback(partial(self._note, partition))
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise LogUnavailableError("the log did not acknowledge in time") from error

    def _note(self, partition: int, task: asyncio.Task[int | None]) -> None:
        """Tell of an append's end, also of one that nobody waits for any more."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None or isinstance(error, UnavailableError):
            self._on_append(partition, error)

    async def _refuse(self, send: Send, reason: Refusal, told: str) -> None:
        """Refuse a body as a whole: one request that never became views, and books nothing for its site."""
        self._metrics.refuse_unread(reason)
        await answer_json(send, Outcome(reason, told))

    async def _refuse_lines(self, send: Send, faults: Sequence[Fault]) -> None:
        """Refuse a body for its bad lines."""
        self._metrics.refuse_unread(Refusal.MALFORMED)
        many = " or more" if len(faults) >= FAULTS_MAX else ""
        told = f"{len(faults)}{many} of the lines are bad; none was taken"
        status = HTTP_STATUS[Refusal.MALFORMED]
        body = problem_body(status, Refusal.MALFORMED.value, told, errors=list(faults))
        await respond(send, status, PROBLEM, body)


def _site_of(sites: Sequence[Site], lines: Sequence[bytes]) -> Site:
    """Return the site of a body: the token's, or where it opens several, the one that the first line names.

    Raises:
        InputError: it names none of them.
    """
    if len(sites) == 1:
        return sites[0]
    named = named_site(lines[0])
    for site in sites:
        if site.id == named:
            return site
    raise InputError(f"the token opens {len(sites)} sites: name one in `site` of every line")
