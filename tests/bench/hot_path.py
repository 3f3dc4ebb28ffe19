"""Where the CPU time of one view goes within ingest: every step of the way by itself, then the way as a whole.

In this process, without a socket and with a log that acknowledges at once; 5,000 different requests with the 18 headers of a
Chromium behind a proxy, 64 at a time. A value is the fastest of five repetitions. What the system adds (epoll, read, write, the
Kafka client's sending) is the difference to "CPU a view" of the benchmark `ingest`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from aiokafka.producer.message_accumulator import BatchBuilder
from uvicorn.server import ServerState

from services.backends.port import BATCH_BYTES_MAX
from services.ingest.answer import Outcome, direct_json
from services.ingest.decision import Arrival
from services.ingest.request import decode_view, read_headers
from services.runtime.clock import now_ms
from services.runtime.direct import DirectRequest, head_of
from services.runtime.direct_protocol import DirectProtocol, protocol_for
from tests.support.bench import Bench
from tests.support.ingest import Ingest
from visits.codec import encode_record

REQUESTS = 5_000
CONNECTIONS = 64
REPETITIONS = 5
READERS = 1_000
SITE = "demo"
BODY = '{{"site":"demo","page":"/tin-tuc/bai-{page}","id":"{number:016x}"}}'
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{version}.0.0.0 Safari/537.36"
)
HEADERS = (
    "Host: counter.example",
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="131", "Not_A Brand";v="24"',
    "Content-Type: text/plain;charset=UTF-8",
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Windows"',
    "Accept: */*",
    "Origin: https://portal.example",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Dest: empty",
    "Referer: https://portal.example/",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: vi-VN,vi;q=0.9,en;q=0.8",
    "X-Forwarded-Proto: https",
)
LZ4 = 3
"""How a batch of Kafka says so (protocol guide, record batch attributes)."""

WHOLE = "the whole way"


class Sink(asyncio.Transport):
    """The other end of a connection, which counts answers."""

    answers = 0
    expected = -1
    complete = asyncio.Event()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert bytes(data[:12]) == b"HTTP/1.1 202"
        Sink.answers += 1
        if Sink.answers == Sink.expected:
            Sink.complete.set()

    def is_closing(self) -> bool:
        return False


def run(bench: Bench) -> None:
    """Measure all steps in every round."""
    asyncio.run(_run(bench))


async def _run(bench: Bench) -> None:
    server = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 1_000_000}
    ingest = Ingest(bench.directory, {SITE: {}}, server=server)
    await ingest.start()
    ingest.log.append = _acknowledge  # type: ignore[method-assign,assignment]  # a log that costs nothing
    requests = [_request(number) for number in range(REQUESTS)]
    try:
        for _ in bench.rounds():
            for name, step in _steps(ingest, requests).items():
                bench.record(name, _fastest(step), "µs")
            whole = [await _whole_way(ingest, requests) for _ in range(REPETITIONS)]
            bench.record(WHOLE, min(whole), "µs")
    finally:
        await ingest.stop()


def _steps(ingest: Ingest, requests: list[bytes]) -> dict[str, Callable[[], None]]:
    """Return the steps on the way of a view, each for all requests, made ready with what the one before gives."""
    intake = ingest.part._intake
    parsed: list[DirectRequest] = []
    echo = head_of(202, []), b""

    def keep(request: DirectRequest) -> None:
        parsed.append(request)
        request.respond(*echo)

    _feed(_protocols(ingest, keep), requests)
    views = [decode_view(request.body) for request in parsed]
    headers = [read_headers(request.headers) for request in parsed]
    clients = [
        intake._finder.find(request.peer, h.forwarded)
        for request, h in zip(parsed, headers, strict=True)
    ]
    site = ingest.configuration.sites[SITE]
    arrivals = [
        Arrival(view, h, client, site, time.monotonic())
        for view, h, client in zip(views, headers, clients, strict=True)
    ]
    now = now_ms()
    records = [
        intake._recorder.record(_decided(intake._rules, arrival), now) for arrival in arrivals
    ]
    values = [encode_record(record) for record in records]
    outcome = Outcome(event_id="0" * 16, position="0:123456")
    answering = _protocols(ingest, lambda request: request.respond(*echo))
    return {
        "HTTP: parse, answer in one write": lambda: _feed(answering, requests),
        "the body's JSON": lambda: _each(lambda r: decode_view(r.body), parsed),
        "the headers that matter": lambda: _each(lambda r: read_headers(r.headers), parsed),
        "the client's address": lambda: _each(
            lambda h: intake._finder.find("127.0.0.1", h.forwarded), headers
        ),
        "decide: nine rules": lambda: _each(intake._rules.decide, arrivals),
        "record: day, pseudonym": lambda: _each(
            lambda a: intake._recorder.record(a, now), arrivals
        ),
        "the record's JSON": lambda: _each(encode_record, records),
        "a place in Kafka's batch, lz4": lambda: _build(values),
        "the answer's JSON": lambda: _each(lambda _r: direct_json(outcome), records),
    }


def _decided(rules: Any, arrival: Arrival) -> Arrival:
    refused = rules.decide(arrival)
    assert refused is None, refused
    return arrival


def _each(function: Callable[[Any], object], items: Sequence[Any]) -> None:
    for item in items:
        function(item)


def _build(values: list[bytes]) -> None:
    """Pack records as the Kafka client does; half of the connections wait for a batch, the other half for the next."""
    size = CONNECTIONS // 2
    for start in range(0, len(values), size):
        batch = BatchBuilder(2 * BATCH_BYTES_MAX, LZ4)
        for value in values[start : start + size]:
            batch.append(key=b"demo", value=value, timestamp=0, headers=[])
        batch._build()


def _fastest(step: Callable[[], None]) -> float:
    """Return the least CPU time of some repetitions, in microseconds a request."""
    taken = []
    for _ in range(REPETITIONS):
        gc.collect()
        began = time.process_time_ns()
        step()
        taken.append((time.process_time_ns() - began) / 1000 / REQUESTS)
    return min(taken)


async def _whole_way(ingest: Ingest, requests: list[bytes]) -> float:
    protocols = _protocols(ingest, None)
    gc.collect()
    began = time.process_time_ns()
    for start in range(0, REQUESTS, CONNECTIONS):
        some = requests[start : start + CONNECTIONS]
        Sink.complete.clear()
        Sink.expected = Sink.answers + len(some)
        _feed(protocols, some)
        await Sink.complete.wait()
    return (time.process_time_ns() - began) / 1000 / REQUESTS


def _protocols(
    ingest: Ingest, handler: Callable[[DirectRequest], None] | None
) -> list[DirectProtocol]:
    """Return open connections; `handler` takes the place of the route."""
    made = protocol_for(ingest.app)
    if handler is not None:
        made.routes = {b"/v1/views": handler}
    config = uvicorn.Config(ingest.app, http=made, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Wed, 25 Nov 2026 10:00:00 GMT")]
    protocols = [made(config, state, {}) for _ in range(CONNECTIONS)]
    for protocol in protocols:
        protocol.connection_made(Sink())
    return protocols


def _feed(protocols: list[DirectProtocol], requests: Sequence[bytes]) -> None:
    for number, request in enumerate(requests):
        protocols[number % CONNECTIONS].data_received(request)


def _request(number: int) -> bytes:
    body = BODY.format(page=number % 500, number=number)
    reader = number % READERS
    lines = [
        "POST /v1/views HTTP/1.1",
        *HEADERS,
        f"User-Agent: {AGENT.format(version=100 + reader % 31)}",
        f"X-Forwarded-For: 10.0.{reader // 250}.{reader % 250 + 1}",
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def _acknowledge(_partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
    await asyncio.sleep(0)
    return len(records)
