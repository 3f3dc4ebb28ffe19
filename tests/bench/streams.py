"""10,000 clients of one event stream on one api process: memory a client, and how soon all have heard of a change.

The clients are sockets of one thread beside the services. A change is one view, sent to ingest and acknowledged by Kafka; the time
runs from the acknowledgement until a client has received the event with the new total. Memory is the growth of the process's
resident size from before the first client to after the last event, divided by the clients.
"""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from http.client import HTTPConnection

from tests.support.bench import Bench
from tests.support.crowd import Crowd
from tests.support.portal import Portal, open_portal
from tests.support.ports import LOOPBACK
from tests.support.process import ProcessError, http_get
from tests.support.usage import Usage, usage

SITE = "site-0"
CLIENTS = 10_000
CHANGES = 5
PAUSE_SECONDS = 2.3
"""Between changes: no whole number of seconds, so that changes meet the publisher at different moments."""


def run(bench: Bench) -> None:
    """Let the crowd come, change the number some times, and let it go, round by round."""
    with open_portal(bench.directory, [SITE], 30, 1) as portal:
        alone = usage(portal.api.pid)
        for _ in bench.rounds():
            _measure(bench, portal, alone)


def _measure(bench: Bench, portal: Portal, alone: Usage) -> None:
    setup = f"{CLIENTS:,} clients of one site"
    begun = time.monotonic()
    with Crowd(portal.api.port, f"/v1/sites/{SITE}/stream?metric=views", CLIENTS) as crowd:
        bench.record("all connected within", time.monotonic() - begun, "s", setup=setup)
        before = usage(portal.api.pid)
        delays = []
        for _ in range(CHANGES):
            time.sleep(PAUSE_SECONDS)
            total = _total(portal) + 1
            acknowledged_at = _view(portal)
            delays.append(crowd.hear(f'"total":{total},'.encode(), acknowledged_at, 30.0))
        after = usage(portal.api.pid)
    cpu_seconds = (after.cpu_seconds - before.cpu_seconds) / CHANGES / CLIENTS
    grown = after.resident_bytes - alone.resident_bytes
    bench.record(
        "memory a client", grown / CLIENTS / 1024, "KiB", setup=f"{setup}, growth", at_most=12
    )
    bench.record("memory of the process", after.resident_bytes / 1e6, "MB", setup=setup)
    everybody = sorted(delay for heard in delays for delay in heard)
    bench.record("change heard, median", everybody[len(everybody) // 2] * 1000, "ms", setup=setup)
    bench.record(
        "change heard, the last client",
        max(heard[-1] for heard in delays) * 1000,
        "ms",
        setup=f"{setup}, slowest of {CHANGES} changes",
        at_most=1000,
    )
    bench.record("CPU a client and change", cpu_seconds * 1e6, "µs", setup=setup)


def _total(portal: Portal) -> int:
    body = http_get(f"{portal.api.base_url}/v1/sites/{SITE}/counters?metric=views")[1]
    return int(json.loads(body)["total"])


def _view(portal: Portal) -> float:
    """Send one view; return when it was acknowledged (monotonic seconds)."""
    body = json.dumps({"site": SITE, "page": "/tin-tuc/bai-0"})
    connection = HTTPConnection(LOOPBACK, portal.ingest.port, timeout=10)
    connection.request("POST", "/v1/views", body, {"User-Agent": "Mozilla/5.0 Chrome/131.0"})
    answer = connection.getresponse()
    at = time.monotonic()
    if answer.status != HTTPStatus.ACCEPTED:
        raise ProcessError(f"the view was answered {answer.status}")
    connection.close()
    return at
