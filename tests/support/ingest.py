"""Ingest as it is mounted, on a real SQLite log, called without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.backends.sqlite import SqliteLog, SqliteStore, open_sqlite
from services.ingest.part import IngestPart
from services.runtime.application import create_application
from services.runtime.direct import direct_routes
from services.runtime.health import Health
from services.runtime.settings import load_configuration
from visits.codec import decode_record
from visits.record import Record

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
ADDRESS = "203.0.113.77"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found = msgspec.json.decode(self.body)
        assert isinstance(found, dict)
        return found


class _Direct:
    """A request of the direct way, without a socket."""

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self.headers = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        self.body = body
        self.peer = ADDRESS
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def respond(self, head: bytes, body: bytes | None) -> None:
        line, *lines = head.decode().removesuffix("\r\n").split("\r\n")
        names = dict(text.split(": ", 1) for text in lines)
        self.answer.set_result(Answer(int(line.split()[1]), names, body or b""))


class Ingest:
    """The application with ingest alone, called without a socket."""

    def __init__(
        self,
        directory: Path,
        sites: Mapping[str, Mapping[str, object]],
        *,
        is_direct: bool = False,
        server: Mapping[str, object] | None = None,
    ) -> None:
        self._is_direct = is_direct
        url = f"sqlite:{directory / 'x.db'}"
        self.file = directory / "x.db"
        self.configuration = configuration = load_configuration(
            None,
            year=2026,
            overrides={
                "log": {"url": url},
                "store": {"url": url},
                "sites": sites,
                "server": server or {},
            },
        )
        self.log: SqliteLog
        self.store: SqliteStore
        self.log, self.store = open_sqlite(self.file)
        self.health, self.registry = Health(), CollectorRegistry()
        self.part = IngestPart(configuration, self.log, self.store, self.health, self.registry)
        self.app: FastAPI = create_application(
            "test", [self.part], self.health, self.registry, configuration.settings.server
        )

    async def start(self) -> None:
        await self.log.open()
        await self.store.open()
        await self.part.start()
        self.health.clear("start")
        while not self.health.is_ready:  # noqa: ASYNC110  # some milliseconds
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        await self.part.close()
        await self.store.close()
        await self.log.close()

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        query: bytes = b"",
    ) -> Answer:
        sent = {"user-agent": BROWSER} | (headers or {})
        messages: list[MutableMapping[str, Any]] = []
        parts = [body[start : start + 1500] for start in range(0, len(body), 1500)] or [b""]

        async def receive() -> MutableMapping[str, Any]:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": (ADDRESS, 4711),
            "server": ("127.0.0.1", 80),
        }
        await self.app(scope, receive, send)
        start, last = messages
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], names, last["body"])

    async def post(self, body: object, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._is_direct:
            return await self._call_directly(raw, named)
        return await self.call("POST", "/v1/views", raw, named)

    async def _call_directly(self, body: bytes, headers: dict[str, str]) -> Answer:
        request = _Direct(body, {"user-agent": BROWSER} | headers)
        direct_routes(self.app)[b"/v1/views"](request)
        return await request.answer

    async def records(self) -> list[Record]:
        consumer = await self.log.consumer()
        await consumer.seek(0, 0)
        found: list[Record] = []
        while True:
            fetched = [raw for item in await consumer.fetch(0) for raw in item.records]
            if not fetched:
                break
            found += [decode_record(raw.value) for raw in fetched]
        await consumer.close()
        return found

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(f"visit_counter_{name}", labels)
        assert value is not None
        return value
