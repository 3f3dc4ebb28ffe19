"""The api without a socket: the whole application over a real store, asked by ASGI messages."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.api.part import ApiPart
from services.backends.port import Applied
from services.backends.sqlite import SqliteLog, SqliteStore, open_sqlite
from services.runtime.application import create_application
from services.runtime.clock import now_ms
from services.runtime.health import Health
from services.runtime.settings import load_configuration
from tests.support.logs import as_log
from visits.codec import LogRecord, decode_batch
from visits.fold import fold, wanted
from visits.record import Record
from visits.state import FOLD_VERSION, SCHEMA, Meta, Parameters

LOG_ID = "a-log"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found = msgspec.json.decode(self.body)
        assert isinstance(found, dict)
        return found


class Api:
    """The application with the api alone, called without a socket."""

    def __init__(self, directory: Path, **settings: object) -> None:
        url = f"sqlite:{directory / 'x.db'}"
        configuration = load_configuration(
            None,
            year=2026,
            overrides={
                "log": {"url": url},
                "store": {"url": url},
                "sites": {"demo": {"pages": ["/**"], "exclude_pages": ["/hidden"]}},
                **settings,
            },
        )
        self.log: SqliteLog
        self.store: SqliteStore
        self.log, self.store = open_sqlite(directory / "x.db")
        self.health = Health()
        self.configuration = configuration
        self.registry = registry = CollectorRegistry()
        self.part = ApiPart(configuration, None, self.store, self.health, registry)
        self.app: FastAPI = create_application(
            "test", [self.part], self.health, registry, configuration.settings.server
        )
        self.records: list[LogRecord] = []

    async def count(self, *records: Record, at: int | None = None) -> None:
        """Count records after those already counted; the numbers then hold for `at`, by default for now."""
        head = await self.store.head(0)
        await self.seed(as_log(records, 0 if head is None else head.fence.position), at)

    async def seed(self, records: list[LogRecord], at: int | None = None) -> None:
        """Count a log as the aggregator does."""
        parameters = Parameters()
        await self.store.put_meta(Meta(SCHEMA, LOG_ID, 1, parameters.bucket_minutes, FOLD_VERSION))
        head = await self.store.begin(0, LOG_ID, parameters)
        decoded = decode_batch(records, 0, 1)
        state = await self.store.read_state(0, head.generation, wanted(decoded.records, parameters))
        assert state is not None
        batch = fold(decoded, state)
        assert await self.store.apply(0, batch) == Applied()
        await self.store.touch(0, head.generation, batch.after, at or now_ms())

    async def get(self, path: str, query: str = "", method: str = "GET", **headers: str) -> Answer:
        messages: list[MutableMapping[str, Any]] = []
        asked = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            if asked.is_set():
                await asyncio.Event().wait()  # the client stays
            asked.set()
            return {"type": "http.request", "body": b"", "more_body": False}

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
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()],
            "client": ("127.0.0.1", 4711),
            "server": ("127.0.0.1", 80),
        }
        await asyncio.wait_for(self.app(scope, receive, send), 5)
        names = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Answer(messages[0]["status"], names, body)
