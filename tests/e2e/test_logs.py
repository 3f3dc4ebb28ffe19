"""What the services write while strangers send whatever they like: JSON lines, and nothing of anybody in them."""

from __future__ import annotations

import http.client
import json
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.conftest import StartService
from tests.support.ports import LOOPBACK
from tests.support.visit_counter import Service, write_config

# A public address: one of documentation is nobody's, and may be told.
ADDRESS = "93.184.216.34"
AGENT = "Mozilla/5.0 hostile-agent"
WORDS = ("hostile-agent", "hostile-page", "hostile-visitor", "hostile-query", "hostile-body")
TOKEN = "hostile-token"
VIEWS_OF_ONE = 650
SECONDS = 5

HEADERS = {"X-Forwarded-For": ADDRESS, "User-Agent": AGENT, "Referer": "https://x/hostile-page"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def send(service: Service, method: str, target: str, body: bytes = b"", **headers: str) -> int:
    """Send one request; whatever comes back."""
    connection = http.client.HTTPConnection(LOOPBACK, service.port, timeout=SECONDS)
    try:
        connection.request(method, target, body, HEADERS | headers)
        return connection.getresponse().status
    except http.client.HTTPException:
        return 0
    finally:
        connection.close()


def send_everything(service: Service) -> None:
    """Take every route with what it takes, what it does not, and what is no HTTP."""
    view = {"site": "demo", "page": "/hostile-page?q=hostile-query", "visitor": "hostile-visitor-1"}
    for body in (
        json.dumps(view).encode(),
        json.dumps(view | {"site": "hostile-page"}).encode(),
        json.dumps(view | {"page": "hostile-page"}).encode(),
        json.dumps(view | {"kind": "probe", "id": "hostile-visitor"}).encode(),
        b'{"site": "hostile-body"',
        b"\xff hostile-body",
        b"[" * 3_000,
        b"hostile-body" * 1_000,
    ):
        for target in ("/v1/views", "/v1/batches", "/v1/sites/demo/deltas"):
            send(service, "POST", target, body, **BEARER)
            send(service, "POST", target, body, Authorization="Bearer hostile-body")
    for target in (
        "/v1/views.gif?site=demo&page=/hostile-page&visitor=hostile-query",
        "/v1/views.gif?site=hostile-query&page=%ff",
        "/v1/sites/hostile-page/counters?after=hostile-query",
        "/v1/sites/demo/counters?after=hostile-query&metric=hostile-query",
        "/v1/sites/demo/pages?page=/hostile-page&page=hostile-query%ff",
        "/v1/sites/demo/pages/top?window=hostile-query",
        "/v1/sites/demo/history?from=hostile-query&interval=day",
        "/embed/demo?page=/hostile-page",
        "/hostile-page?hostile-query",
    ):
        send(service, "GET", target)
        send(service, "POST", target, b"hostile-body")
    for raw in (
        b"GET /hostile-page HTTP/9.9\r\nUser-Agent: hostile-agent\r\n\r\n",
        b"hostile-body\r\n\r\n",
        b"POST /v1/views HTTP/1.1\r\nHost: x\r\nContent-Length: hostile-body\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: " + b"hostile-agent" * 4_000,
    ):
        with socket.create_connection((LOOPBACK, service.port), timeout=SECONDS) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)


def views_of_one(service: Service) -> None:
    """Send so many views of one address that it is taken for a proxy's."""
    connection = http.client.HTTPConnection(LOOPBACK, service.port, timeout=SECONDS)
    for number in range(VIEWS_OF_ONE):
        body = json.dumps({"site": "demo", "page": f"/hostile-page/{number}"})
        connection.request("POST", "/v1/views", body, HEADERS)
        connection.getresponse().read()
    connection.close()


def test_nothing_of_anybody_is_written(tmp_path: Path, start_service: StartService) -> None:
    """Hostile requests on every route, a shared address, a file that is taken away, a stop: every line is of ours alone."""
    file = tmp_path / "visit-counter.db"
    config = write_config(
        tmp_path / "visit-counter.toml",
        f"sqlite:{file}",
        f"sqlite:{file}",
        {
            "demo": {
                "identity": "storage",
                "tokens": [f"sha256:{sha256(TOKEN.encode()).hexdigest()}"],
            }
        },
        server={"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0},
        logging={"level": "debug"},
    )
    service = start_service("up", config)
    send_everything(service)
    views_of_one(service)
    file.rename(tmp_path / "away.db")
    send_everything(service)
    service.terminate()

    output = service.output()
    lines = [line for line in output.splitlines() if not line.startswith("visit-counter: ")]
    events = [told(line) for line in lines]
    assert {"partition located", "nearly all views share one address: trusted_proxies?"} <= {
        *events
    }
    assert any("does not answer" in event for event in events), events
    for secret in (ADDRESS, TOKEN, *WORDS):
        assert secret not in output, next(line for line in lines if secret in line)


def told(line: str) -> str:
    """Return a line's event, once its form is checked."""
    found: dict[str, Any] = json.loads(line)
    assert found["service"] == "visit-counter"
    assert found["level"] in {"debug", "info", "warning", "error", "critical"}
    assert found["timestamp"].endswith("Z")
    assert found["logger"]
    assert isinstance(found["event"], str)
    return str(found["event"])
