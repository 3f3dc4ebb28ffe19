"""What the generator asks the service: what a site is, what it counted, and whether a view is visible."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any
from urllib.parse import quote

import msgspec

from services.load.connection import Connection, connect
from services.load.target import Target
from visits.errors import SettingsError, UnavailableError

ANSWER_SECONDS_MAX = 10.0
FREE_MAX = 32
POLL_SECONDS = 0.1
HTTP_OK, HTTP_NOT_FOUND = 200, 404
OWN_BOOKS_MAX = 10
"""Of how many sites the service's own books are asked for: closing them takes it a while."""


class Reader:
    """A small HTTP client over kept connections."""

    def __init__(self, target: Target) -> None:
        """Read from `target`; nothing is opened yet."""
        self._target = target
        self._free: list[Connection] = []
        self._waiting: dict[Connection, asyncio.Future[tuple[int, bytes]]] = {}

    async def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body.

        Raises:
            UnavailableError: no connection, or no whole answer within `ANSWER_SECONDS_MAX`.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                connection = await self._take()
                answer: asyncio.Future[tuple[int, bytes]] = asyncio.Future()
                self._waiting[connection] = answer
                try:
                    connection.send(0, 0, 0, self._target.head("GET", path) + b"\r\n")
                    return await answer
                finally:
                    # By now the connection may carry another's request.
                    if self._waiting.get(connection) is answer:
                        del self._waiting[connection]
                        connection.end("given_up")
        except OSError as error:
            msg = f"{self._target.host}:{self._target.port} does not answer ({str(error) or 'no answer in time'})"
            raise UnavailableError(msg) from error

    async def get_json(self, path: str) -> Any:
        """Return the JSON of a 200.

        Raises:
            UnavailableError: no answer, or another one.
        """
        status, body = await self.get(path)
        if status != HTTP_OK:
            msg = f"{path} answers {status}: {body[:200].decode('utf-8', 'replace')}"
            raise UnavailableError(msg)
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            msg = f"{path} answers what is no JSON; is this the address of a visit-counter?"
            raise UnavailableError(msg) from error

    def close(self) -> None:
        """Close the connections."""
        for connection in self._free:
            connection.end("done")
        self._free.clear()

    async def _take(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if connection.is_reusable:
                return connection
        return await connect(self._target, self._answered, self._ended)

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        connection.number = -1
        answer = self._waiting.pop(connection, None)
        if answer is not None and not answer.done():
            answer.set_result((status, body))
        if connection.is_reusable and len(self._free) < FREE_MAX:
            self._free.append(connection)
        else:
            connection.end("done")

    def _ended(self, connection: Connection, why: str) -> None:
        if connection in self._free:
            self._free.remove(connection)
        answer = self._waiting.pop(connection, None)
        if answer is not None and not answer.done():
            answer.set_exception(ConnectionError(f"connection {why}"))


async def check_is_test(reader: Reader, site: str, allowed: frozenset[str]) -> None:
    """Refuse to load a site that is not for tests, unless it is named among `allowed` too.

    Raises:
        SettingsError: saying what mends it.
        UnavailableError: the service does not answer.
    """
    status, body = await reader.get(f"/v1/definitions?site={quote(site, safe='')}")
    if status == HTTP_NOT_FOUND:
        msg = f"the service has no site {site!r}; `visit-counter site add` declares one"
        raise SettingsError(msg)
    try:
        found = msgspec.json.decode(body)["site"]
        is_test = found.get("test") is True
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        msg = f"/v1/definitions answers {status} and no definitions; is this the address of a visit-counter's api?"
        raise UnavailableError(msg) from error
    if not is_test and site not in allowed:
        msg = (
            f"site {site!r} is not for tests, and a load test would change its numbers for good; write test = true under "
            f"[sites.{site}], or, if you mean it, --count-into {site}"
        )
        raise SettingsError(msg)


async def settled_totals(
    reader: Reader, sites: Sequence[str], seconds_max: float
) -> dict[str, int]:
    """Return each site's views once everything acknowledged before this call is in them.

    The numbers hold for a moment `lag_seconds` ago; they include what came before this call as soon as that moment lies after it.

    Raises:
        UnavailableError: the service does not answer, or its numbers stay late for `seconds_max`.
    """
    began = monotonic()
    found: dict[str, int] = {}
    waiting = list(sites)
    while True:
        asked = monotonic()
        for site, (total, lag_seconds) in (await views_totals(reader, waiting)).items():
            if lag_seconds < asked - began:
                found[site] = total
            elif monotonic() - began > seconds_max:
                msg = f"the numbers of {site!r} are {lag_seconds:.0f} s late; wait until the aggregator has caught up"
                raise UnavailableError(msg)
        waiting = [site for site in sites if site not in found]
        if not waiting:
            return found
        await asyncio.sleep(POLL_SECONDS)


async def views_totals(reader: Reader, sites: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Return each site's views in all, and how old the number is in seconds; some are asked for at once.

    Raises:
        UnavailableError: the service does not answer with numbers.
    """
    found: dict[str, tuple[int, float]] = {}
    for start in range(0, len(sites), FREE_MAX):
        some = sites[start : start + FREE_MAX]
        totals = await asyncio.gather(*(_views_total(reader, site) for site in some))
        found |= zip(some, totals, strict=True)
    return found


async def _views_total(reader: Reader, site: str) -> tuple[int, float]:
    found = await reader.get_json(f"/v1/sites/{quote(site, safe='')}/counters?metric=views")
    return int(found["total"]), float(found["lag_seconds"])


async def own_differences(reader: Reader, sites: Sequence[str]) -> dict[str, int]:
    """Return site → by how much the service's own books differ, of the first few sites; without those it does not tell of."""
    found: dict[str, int] = {}
    for site in sites[:OWN_BOOKS_MAX]:
        try:
            status, body = await reader.get(f"/v1/sites/{quote(site, safe='')}/balance?days=0")
            if status == HTTP_OK:
                found[site] = int(msgspec.json.decode(body)["difference"])
        except (UnavailableError, msgspec.DecodeError, KeyError, TypeError, ValueError):
            continue
    return found


async def is_visible(reader: Reader, site: str, position: str) -> bool:
    """Wait up to a second until the record at `position` is counted; claim that it is.

    Raises:
        UnavailableError: the service does not answer.
    """
    path = f"/v1/sites/{quote(site, safe='')}/counters?metric=views&after={position}"
    found = await reader.get_json(path)
    return found.get("after") is True
