"""What ingest does to the log: append a batch, and one span a batch where traces are on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.runtime.tracing import NO_TRACER, Tracer


class Appender(Protocol):
    """The part of `EventLog` that ingest's batches need."""

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        """Append as `EventLog.append` does."""


class TracedAppender:
    """Appends, and tells of each batch."""

    def __init__(self, inner: Appender, tracer: Tracer) -> None:
        """Append to `inner`."""
        self._inner = inner
        self._tracer = tracer

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        """Append within a span."""
        span = self._tracer.begin(
            "append",
            partition=partition,
            records=len(records),
            bytes=sum(len(value) for _key, value in records),
        )
        try:
            position = await self._inner.append(partition, records)
        except BaseException as error:
            span.end(error)
            raise
        span.end(**({} if position is None else {"position": position}))
        return position


def traced(inner: Appender, tracer: Tracer) -> Appender:
    """Return what appends to `inner`: itself while traces are off."""
    return inner if tracer is NO_TRACER else TracedAppender(inner, tracer)
