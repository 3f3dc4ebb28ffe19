"""Traces that are off cost nothing and load nothing."""

from __future__ import annotations

import subprocess
import sys

from services.ingest.appending import traced
from services.runtime.settings import TelemetrySettings
from services.runtime.tracing import NO_TRACER, start_tracing
from tests.support.visit_counter import REPOSITORY


class Log:
    async def append(self, partition: int, records: object) -> int | None:
        del partition, records
        return None


def test_off_is_the_default() -> None:
    """Nothing stands between a batch and the log, and all spans are one that does nothing."""
    assert start_tracing(TelemetrySettings(otlp_endpoint=""), "ingest") is NO_TRACER
    log = Log()
    assert traced(log, NO_TRACER) is log
    first, second = NO_TRACER.begin("append", records=1), NO_TRACER.begin("count")
    assert first is second
    first.end(ValueError(), outcome="applied")


def test_the_sdk_is_loaded_by_nobody_who_does_not_trace() -> None:
    """The command line with all its services imports no SDK; FastAPI brings the API, which does nothing."""
    code = "import sys, services.cli; sys.exit('opentelemetry.sdk.trace' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, timeout=60)
    assert done.returncode == 0
