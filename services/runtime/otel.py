"""Spans by the OpenTelemetry SDK to an OTLP/HTTP collector; loaded only where traces are switched on.

A thread of the SDK sends them: a bounded queue, a bounded time, and where the collector is away they are dropped. The SDK's own variables
(`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS` …) hold.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import Status, StatusCode

from services.runtime.tracing import Span, Value

QUEUE_SPANS_MAX = 2_048
EXPORT_SECONDS = 2.0
"""How long one hand-over to the collector may take; also what a stop waits for."""

UNNAMED = "unknown_service"
"""What the SDK calls a service that `OTEL_SERVICE_NAME` does not name."""

PREFIX = "visit_counter."


class OtlpTracer:
    """Begins spans that end up at a collector."""

    def __init__(self, endpoint: str, service: str) -> None:
        """Take the collector's base URL, to which `/v1/traces` is added (OTLP specification, "Endpoint URLs for OTLP/HTTP")."""
        resource = Resource.create({SERVICE_VERSION: version("visit-counter")})
        if str(resource.attributes[SERVICE_NAME]).startswith(UNNAMED):
            name = service if service == "visit-counter" else f"visit-counter-{service}"
            resource = resource.merge(Resource({SERVICE_NAME: name}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS_MAX)
        )
        self._tracer = self._provider.get_tracer("visit-counter")

    def begin(self, name: str, /, **attributes: Value) -> Span:
        """Begin a span."""
        return _OtlpSpan(self._tracer.start_span(name, attributes=_named(attributes)))

    def close(self) -> None:
        """Hand out what is left."""
        self._provider.shutdown()


class _OtlpSpan:
    def __init__(self, span: SdkSpan) -> None:
        self._span = span

    def end(self, error: BaseException | None = None, /, **attributes: Value) -> None:
        """Say how it ended; an error's words may hold what was sent, its type does not."""
        self._span.set_attributes(_named(attributes))
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


def _named(attributes: dict[str, Value]) -> dict[str, Value]:
    return {PREFIX + name: value for name, value in attributes.items()}
