"""`POST /v1/sites/{site}/deltas`: one correction, acknowledged once the log has it; whether it applies stands in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from msgspec import json

from services.ingest.answer import JSON, Outcome, answer_json, answer_preflight, respond
from services.ingest.batcher import Batcher
from services.ingest.bearer import authorization_of, token_hash
from services.ingest.decision import Refused, Rules
from services.ingest.delta import BYTES_MAX, BadIdError, read_delta
from services.ingest.metrics import IngestMetrics
from services.ingest.request import (
    BodyTooLargeError,
    DisconnectedError,
    Receive,
    Scope,
    Send,
    read_body,
)
from services.runtime.clock import now_ms
from services.runtime.site import Site
from visits.errors import InputError, LogUnavailableError, PageError
from visits.refusal import Refusal

BODY_SECONDS_MAX = 10.0
"""How long a client may take over its body."""

UNDER_WAY_MAX = 16
"""How many corrections are read at once; each is 512 KiB at most."""

log = structlog.get_logger()


class DeltasRoute:
    """`POST /v1/sites/{site}/deltas`."""

    def __init__(
        self,
        rules: Rules,
        batcher: Batcher,
        metrics: IngestMetrics,
        bucket_minutes: int,
        *,
        partition_of: Callable[[str], int],
        is_draining: Callable[[], bool],
    ) -> None:
        """Append through `batcher`."""
        self._rules = rules
        self._batcher = batcher
        self._metrics = metrics
        self._bucket_minutes = bucket_minutes
        self._partition_of = partition_of
        self._is_draining = is_draining
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["method"] == "OPTIONS":
            await answer_preflight(send)
            return
        refused = self._refuse_early(scope)
        if refused is None:
            self._under_way += 1
            try:
                refused = await self._take(scope, receive, send)
            finally:
                self._under_way -= 1
        if refused is not None:
            self._metrics.refuse_unread(refused.reason)
            await answer_json(send, Outcome(refused.reason, refused.hint))

    def _refuse_early(self, scope: Scope) -> Refused | None:
        """Return why a request is refused without reading its body."""
        if scope["method"] != "POST":
            told = f"this address does not answer {scope['method'][:20]}"
            return Refused(Refusal.METHOD, told)
        site = self._rules.site(scope["path_params"]["site"])
        if isinstance(site, Refused):
            return site
        if token_hash(authorization_of(scope["headers"])) not in site.settings.tokens:
            told = (
                f"a correction of site {site.id!r} needs Authorization: Bearer and one of its tokens; "
                f"`visit-counter token new --site {site.id}` makes one"
            )
            return Refused(Refusal.UNAUTHORIZED, told)
        if self._is_draining() or self._under_way >= UNDER_WAY_MAX:
            return Refused(Refusal.UNAVAILABLE, "this process takes no more now; send it again")
        return None

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> Refused | None:
        """Read, check and append one correction; return why not."""
        site = self._rules.site(scope["path_params"]["site"])
        assert isinstance(site, Site), "declared when it was looked at just before"
        digest = token_hash(authorization_of(scope["headers"]))
        key = next((v for name, v in scope["headers"] if name == b"idempotency-key"), b"")
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                body = await read_body(scope, receive, BYTES_MAX)
            delta_id, record = read_delta(
                body,
                site,
                self._bucket_minutes,
                now_ms(),
                who=f"token {digest[:15]}",
                idempotency_key=key.decode("latin-1"),
            )
            partition = self._partition_of(site.id)
            position = await self._batcher.submit(partition, site.id.encode(), record)
        except DisconnectedError:
            self._metrics.refuse_unread(Refusal.MALFORMED)
            return None
        except (InputError, TimeoutError, LogUnavailableError) as error:
            return _why(error)
        log.info("a correction was taken", site=site.id, id=delta_id, token=digest[:15])
        answer = {"accepted": True, "id": delta_id}
        if position is not None:
            answer["position"] = f"{partition}:{position}"
        await respond(send, 202, JSON, json.encode(answer))
        return None


def _why(error: InputError | TimeoutError | LogUnavailableError) -> Refused:
    """Return what an error is to the sender."""
    if isinstance(error, LogUnavailableError):
        told = f"{error}; send the same again: a correction counts once, by its id"
        return Refused(Refusal.UNAVAILABLE, told)
    if isinstance(error, TimeoutError):
        return Refused(Refusal.TOO_SLOW, f"the body took over {BODY_SECONDS_MAX:.0f} s")
    if isinstance(error, BodyTooLargeError):
        return Refused(Refusal.TOO_LARGE, str(error))
    if isinstance(error, PageError):
        return Refused(Refusal.BAD_PAGE, str(error))
    if isinstance(error, BadIdError):
        return Refused(Refusal.BAD_ID, str(error))
    return Refused(Refusal.MALFORMED, str(error))
