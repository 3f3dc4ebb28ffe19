"""Traces of real services, at a collector of this process: one span a batch, nothing of anybody, and none of it needed."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from tests.conftest import StartService
from tests.support.collector import Collector
from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Process, http_get, http_post, wait_until
from tests.support.visit_counter import REPOSITORY, Service, write_config

VIEWS = 40
DRAIN_SECONDS = 15
ENDED = {0, -signal.SIGTERM}


def configured(folder: Path) -> Path:
    url = f"sqlite:{folder / 'visit-counter.db'}"
    return write_config(folder / "visit-counter.toml", url, url, {"demo": {}})


def count_views(service: Service, first: int = 0) -> None:
    """Send views one by one and wait until the last is counted."""
    for number in range(first, first + VIEWS):
        body = json.dumps({"site": "demo", "page": f"/secret-page/{number}"}).encode()
        status, answer = http_post(f"{service.base_url}/v1/views", body)
        assert status == 202
    url = f"{service.base_url}/v1/sites/demo/counters?after={json.loads(answer)['position']}"
    wait_until(
        lambda: json.loads(http_get(url)[1]).get("after") is True,
        timeout_seconds=30,
        what="the last view to be counted",
    )


def test_one_span_a_batch(tmp_path: Path, start_service: StartService) -> None:
    """Appends and counts together hold every record once, are told at the latest when the process ends, and name nobody."""
    with Collector() as collector:
        service = start_service(
            "up",
            configured(tmp_path),
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                # FastAPI's own telemetry stays off, whatever the surroundings say: it tells paths and queries.
                "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
            },
        )
        count_views(service)
        assert service.terminate() in ENDED
    assert collector.paths == {"/v1/traces"}
    assert {span.service for span in collector.spans} == {"visit-counter"}
    assert {span.error for span in collector.spans} == {""}
    appends = [span.attributes for span in collector.spans if span.name == "append"]
    counts = [span.attributes for span in collector.spans if span.name == "count"]
    assert len(collector.spans) == len(appends) + len(counts)
    assert sum(append["records"] for append in appends) == VIEWS
    assert sorted(append["position"] for append in appends) == list(range(VIEWS))
    assert sum(count["records"] for count in counts) == VIEWS
    assert len(counts) <= VIEWS
    assert {count["outcome"] for count in counts} == {"applied"}
    assert {count["partition"] for count in counts} == {0}
    for body in collector.bodies:
        assert b"secret-page" not in body
        assert b"Firefox" not in body


def test_a_log_that_fails_ends_its_span_with_an_error(
    tmp_path: Path, start_service: StartService
) -> None:
    """A file that was taken away: the append's span has failed, by the type of the error alone."""
    with Collector() as collector:
        service = start_service(
            "up",
            configured(tmp_path),
            environment={"VISIT_COUNTER_TELEMETRY__OTLP_ENDPOINT": collector.url},
        )
        (tmp_path / "visit-counter.db").rename(tmp_path / "away.db")
        body = json.dumps({"site": "demo", "page": "/secret-page"}).encode()
        assert http_post(f"{service.base_url}/v1/views", body)[0] == 503
        service.terminate()
    errors = {span.error for span in collector.spans if span.name == "append"}
    assert errors == {"LogUnavailableError"}


def test_a_collector_that_is_away_is_nobodys_trouble(
    tmp_path: Path, start_service: StartService
) -> None:
    """Views are counted, and the process ends as it should."""
    endpoint = f"http://{LOOPBACK}:{free_port()}"
    service = start_service(
        "up", configured(tmp_path), environment={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    )
    count_views(service)
    assert service.terminate(DRAIN_SECONDS) in ENDED


def test_without_the_extra_the_start_says_what_to_install(tmp_path: Path) -> None:
    """Traces that were switched on and cannot be had stop the start with the line to type."""
    blocked = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; from services.cli import main; main()"
    )
    process = Process(
        [
            sys.executable,
            "-c",
            blocked,
            "up",
            "--config",
            configured(tmp_path),
            "--port",
            str(free_port()),
        ],
        name="up without the extra",
        log_path=tmp_path / "up.log",
        environment={
            "PYTHONPATH": str(REPOSITORY),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:4318",
        },
        directory=tmp_path,
    )
    process.start()
    assert process.wait(30) == 1
    assert "pip install 'visit-counter[otel]'" in process.output()
    assert "Traceback" not in process.output()
