"""An OTLP/HTTP collector in this process: keeps every span it is sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.support.ports import LOOPBACK


class Told(NamedTuple):
    """One span.

    Attributes:
        service: the resource's `service.name`.
        name: of the span.
        attributes: without the prefix `visit_counter.`.
        error: what its status says; empty unless it failed.
    """

    service: str
    name: str
    attributes: dict[str, Any]
    error: str


class Collector:
    """Listens on a port of its own from the beginning of `with` to its end."""

    def __init__(self) -> None:
        """Listen on nothing yet."""
        self.spans: list[Told] = []
        self.bodies: list[bytes] = []
        self.paths: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The endpoint as OTEL_EXPORTER_OTLP_ENDPOINT has it."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, body: bytes) -> None:
        """Keep what one request brought."""
        self.paths.add(path)
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: _value(one.value) for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Told(
                        str(about["service.name"]),
                        span.name,
                        {
                            one.key.removeprefix("visit_counter."): _value(one.value)
                            for one in span.attributes
                        },
                        span.status.message,
                    )
                    for span in scope.spans
                ]


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
