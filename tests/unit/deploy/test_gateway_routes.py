"""The gateway passes to ingest what ingest answers, and everything else to the api."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.routing import Route

from tests.support.ingest import Ingest
from tests.support.visit_counter import REPOSITORY

ROUTES = REPOSITORY / "deploy" / "nginx" / "routes.conf"
LOCATION = re.compile(r"^location (?:(=|~) )?(\S+) \{([^}]*)\}", re.MULTILINE)
READING = ("/v1/sites/demo/counters", "/v1/sites/demo/stream", "/sites/demo", "/widget/v1.js")


def passed_to_ingest(path: str) -> bool:
    """Claim that an exact or else the first matching location of the gateway names ingest (nginx, "location")."""
    exact, patterns = {}, []
    for kind, pattern, body in LOCATION.findall(ROUTES.read_text(encoding="utf-8")):
        if kind == "=":
            exact[pattern] = body
        elif kind == "~":
            patterns.append((pattern, body))
    found = exact.get(path)
    if found is None:
        found = next((body for pattern, body in patterns if re.search(pattern, path)), "")
    return "proxy_pass $ingest;" in found


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    """Ingest, for its routes."""
    made = Ingest(tmp_path, {"demo": {}})
    await made.start()
    yield made
    await made.stop()


async def test_every_route_of_ingest_is_passed_to_it(ingest: Ingest) -> None:
    """A route that is new there and missing here would be asked of the api, which has none."""
    paths = {
        route.path.replace("{site}", "demo")
        for route in ingest.app.router.routes
        if isinstance(route, Route) and route.path.startswith("/v1/")
    }
    assert paths >= {"/v1/views", "/v1/views/recent", "/v1/batches"}
    assert [path for path in sorted(paths) if not passed_to_ingest(path)] == []


@pytest.mark.parametrize("path", READING)
def test_reading_is_passed_to_the_api(path: str) -> None:
    """No pattern of ingest's takes what is the api's."""
    assert not passed_to_ingest(path)
