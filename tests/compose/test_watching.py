"""What an operator sees: every query of every dashboard has an answer, and an alert comes and goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.compose import Stack, json_of
from tests.support.compose_load import Load, write_access_log
from tests.support.process import ProcessError, wait_until
from tests.support.visit_counter import REPOSITORY

pytestmark = pytest.mark.compose

SITE = "load-test"
DASHBOARDS = REPOSITORY / "deploy" / "grafana" / "dashboards"
VARIABLES = {"$__rate_interval": "1m", "$__range": "10m", "$__interval": "10s", "$site": SITE}
"""What Grafana puts in for whoever looks at the last ten minutes."""

DATA_WITHIN_SECONDS = 90.0
FIRES_WITHIN_SECONDS = 210.0
ENDS_WITHIN_SECONDS = 120.0


def expressions() -> set[str]:
    """Return the queries of all panels and annotations, as Grafana would send them."""
    found = {
        query
        for file in DASHBOARDS.rglob("*.json")
        for query in _expressions(json.loads(file.read_text(encoding="utf-8")))
    }
    for name, value in VARIABLES.items():
        found = {query.replace(f"${{{name[1:]}}}", value).replace(name, value) for query in found}
    return found


def _expressions(panels: dict[str, Any]) -> Iterator[str]:
    for panel in panels.get("panels", []):
        yield from (target["expr"] for target in panel.get("targets", []))
        yield from _expressions(panel)


def test_every_query_of_every_dashboard_returns_data(stack: Stack, tmp_path: Path) -> None:
    """Under load, on the Prometheus of the deployment."""
    log = write_access_log(tmp_path / "access.log")
    empty = expressions()
    assert empty, "there is no dashboard"

    def all_answered() -> bool:
        empty.difference_update([query for query in empty if ask(stack, query)])
        return not empty

    with Load(stack.gateway, SITE, rate=20, seconds=DATA_WITHIN_SECONDS, log=log):
        try:
            wait_until(all_answered, timeout_seconds=DATA_WITHIN_SECONDS)
        except ProcessError:
            pytest.fail("no data:\n" + "\n".join(sorted(empty)))


def test_an_alert_fires_and_ends(stack: Stack) -> None:
    """All aggregators stop: Alertmanager has the page for it; they come back, and it ends."""
    assert not _is_firing(stack)
    wait_until(lambda: "Watchdog" in active(stack), timeout_seconds=60, what="the dead-man")
    stack.compose("stop", "aggregator")
    try:
        wait_until(
            lambda: _is_firing(stack), timeout_seconds=FIRES_WITHIN_SECONDS, what="the alert"
        )
    finally:
        stack.up("--no-recreate")
    wait_until(
        lambda: not _is_firing(stack), timeout_seconds=ENDS_WITHIN_SECONDS, what="the alert's end"
    )
    assert "Watchdog" in active(stack)


def _is_firing(stack: Stack) -> bool:
    found = active(stack).get("ServiceAway")
    if found is None:
        return False
    assert found["labels"]["service"] == "aggregator"
    return bool(found["receivers"] == [{"name": "page"}])


def active(stack: Stack) -> dict[str, Any]:
    """Return the alerts that Alertmanager has now, by name."""
    found = json_of(f"{stack.alertmanager}/api/v2/alerts?active=true")
    return {alert["labels"]["alertname"]: alert for alert in found}


def ask(stack: Stack, query: str) -> list[Any]:
    """Return the answer to an instant query; one that cannot be read is an error."""
    answer = json_of(f"{stack.prometheus}/api/v1/query?query={quote(query)}")
    found = answer["data"]["result"]
    assert isinstance(found, list)
    return found
