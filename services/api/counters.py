"""The routes that widgets and readers ask: counters, views by page, and the stream of both."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated, Any

from fastapi import Query, Request, Response

from services.api.answer import JSON_TYPE, conditional, json_answer, uncached
from services.api.parameter import MetricName, WindowsName
from services.api.reading import Key, Readings, as_json, named_page, tag_of
from services.api.stream import HEADERS, StreamResponse, Streams
from services.runtime.problem import ProblemError
from services.runtime.site import Site
from visits.window import iso

AFTER_SECONDS = 1.0
AFTER_POLL_SECONDS = 0.005
WAITERS_MAX = 1_000
PAGES_MAX = 100
POSITION = re.compile(r"(0|[1-9]\d{0,3}):(0|[1-9]\d{0,17})")

After = Annotated[
    str | None,
    Query(
        description="wait up to 1 s until this position, as a view's answer names it, is counted"
    ),
]


class CounterRoutes:
    """Counters of a site, views of some pages, and the stream."""

    def __init__(self, readings: Readings, streams: Streams) -> None:
        """Take what reads and what streams."""
        self._readings = readings
        self._streams = streams
        self._waiters = 0

    async def counters(
        self,
        request: Request,
        site: str,
        metric: MetricName = None,
        windows: WindowsName = None,
        after: After = None,
    ) -> Response:
        """Read a site's numbers."""
        declared = self._readings.site(site)
        chosen, cut = metric or declared.settings.metric, windows or declared.settings.windows
        if after is None:
            rendered = await self._readings.rendered(declared, chosen, cut)
            return conditional(request, rendered.body, JSON_TYPE, rendered.tag)
        reached = await self._reached(declared, after)
        answer = await self._readings.read_after(declared, chosen, cut)
        return uncached(as_json(declared, chosen, cut, answer) | {"after": reached})

    async def pages(
        self,
        request: Request,
        site: str,
        page: Annotated[list[str] | None, Query(description="up to 100, as paths or URLs")] = None,
        after: After = None,
    ) -> Response:
        """Read the views of up to 100 pages, under the strings asked."""
        declared = self._readings.site(site)
        asked = page or []
        if len(asked) > PAGES_MAX:
            raise ProblemError(
                "malformed", f"{len(asked)} pages: ask for at most {PAGES_MAX} at once"
            )
        reached = None if after is None else await self._reached(declared, after)
        views, as_of = await self._readings.pages(
            declared, [named_page(declared, text) for text in asked]
        )
        body: dict[str, Any] = {
            "site": site,
            "pages": dict(zip(asked, views, strict=True)),
            "as_of": iso(as_of, declared.zone),
            "lang": declared.settings.lang,
        }
        if reached is not None:
            return uncached(body | {"after": reached})
        return json_answer(request, body, tag_of(repr(body["pages"])))

    async def stream(
        self, request: Request, site: str, metric: MetricName = None, windows: WindowsName = None
    ) -> Response:
        """Follow a site's numbers as server-sent events."""
        declared = self._readings.site(site)
        if not self._streams.has_room:
            raise ProblemError("unavailable", "no room for another stream: poll /counters instead")
        if request.method == "HEAD":  # a body that never ends would hold the request open
            return Response(headers=HEADERS)
        chosen, cut = metric or declared.settings.metric, windows or declared.settings.windows
        return StreamResponse(self._streams, Key(declared.id, chosen, cut))

    async def _reached(self, site: Site, after: str) -> bool:
        """Wait up to a second until a position is counted; claim that it is.

        Raises:
            ProblemError: the position is malformed or another partition's.
        """
        match = POSITION.fullmatch(after)
        partition = await self._readings.partition(site)
        if match is None or int(match[1]) != partition:
            raise ProblemError(
                "malformed",
                f"after={after[:40]!r}: no position of this site, which begins with {partition}:",
            )
        if self._waiters >= WAITERS_MAX:
            return await self._readings.position(site) > int(match[2])
        self._waiters += 1
        try:
            until = time.monotonic() + AFTER_SECONDS
            while await self._readings.position(site) <= int(match[2]):
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(AFTER_POLL_SECONDS)
            return True
        finally:
            self._waiters -= 1
