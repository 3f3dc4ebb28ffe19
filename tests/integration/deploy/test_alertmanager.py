"""A real Alertmanager with the configuration that is deployed: who hears what, together with what, and what is held back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Process, answers_ok, http_get, http_post, wait_until
from tests.support.visit_counter import REPOSITORY

CONFIG = REPOSITORY / "deploy" / "alertmanager" / "alertmanager.yml"

Alert = dict[str, str]


class Alertmanager(Process):
    """One server that tells nobody: its receivers are empty."""

    def __init__(self, directory: Path) -> None:
        """Describe it."""
        self.base_url = f"http://{LOOPBACK}:{(port := free_port())}"
        super().__init__(
            [
                "prometheus-alertmanager",
                f"--config.file={CONFIG}",
                f"--storage.path={directory / 'alertmanager'}",
                f"--web.listen-address={LOOPBACK}:{port}",
                "--cluster.listen-address=",
            ],
            name="alertmanager",
            log_path=directory / "alertmanager.log",
            is_ready=lambda _process: answers_ok(f"{self.base_url}/-/ready"),
        )

    def fire(self, *alerts: Alert) -> None:
        """Let alerts fire."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        status, answer = http_post(
            f"{self.base_url}/api/v2/alerts", body, content_type="application/json"
        )
        assert status == HTTPStatus.OK, answer

    def get(self, path: str) -> list[dict[str, Any]]:
        """Return a list of the HTTP API."""
        found = json.loads(http_get(f"{self.base_url}/api/v2/{path}")[1])
        assert isinstance(found, list)
        return found

    def told(self) -> dict[str, str]:
        """Return, once all are judged, name → receiver of the alerts that are told to somebody."""
        wait_until(
            lambda: all(a["status"]["state"] != "unprocessed" for a in self.get("alerts")),
            timeout_seconds=30,
            what="alerts that are judged",
        )
        return {
            alert["labels"]["alertname"]: alert["receivers"][0]["name"]
            for alert in self.get("alerts")
            if not alert["status"]["inhibitedBy"]
        }


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    with Alertmanager(tmp_path) as server:
        yield server


def page(name: str, **labels: str) -> Alert:
    return {"alertname": name, "severity": "page", **labels}


def ticket(name: str, **labels: str) -> Alert:
    return {"alertname": name, "severity": "ticket", **labels}


WATCHDOG = {"alertname": "Watchdog", "severity": "none"}


def test_what_is_away_holds_back_what_follows_from_it(alertmanager: Alertmanager) -> None:
    """Ingest is gone: nothing of refused views and silent sites is told; a stopped partition is another matter."""
    alertmanager.fire(
        page("ServiceAway", service="ingest"),
        page("AcceptanceBurn", objective="acceptance", burn="14.4"),
        page("ManySitesSilent"),
        ticket("SiteSilent", site="a"),
        ticket("TargetDown", job="ingest"),
        page("PartitionStopped", partition="3", state="wrong_log"),
        page("NumbersLate"),
        ticket("BackupOld"),
        WATCHDOG,
    )
    assert alertmanager.told() == {
        "ServiceAway": "page",
        "PartitionStopped": "page",
        "BackupOld": "ticket",
        "Watchdog": "dead-man",
    }


def test_another_service_away_holds_back_other_things(alertmanager: Alertmanager) -> None:
    """The api is gone: refused views are told all the same."""
    alertmanager.fire(
        page("ServiceAway", service="api"),
        page("AcceptanceBurn", objective="acceptance", burn="14.4"),
        ticket("AcceptanceSlowBurn", objective="acceptance", burn="1"),
        page("ApiBurn", objective="api", burn="6"),
    )
    assert alertmanager.told() == {"ServiceAway": "page", "AcceptanceBurn": "page"}


def test_one_cause_is_one_message(alertmanager: Alertmanager) -> None:
    """Sixteen stopped partitions are one group; another alert is another one."""
    alertmanager.fire(
        *(page("PartitionStopped", partition=str(n), state="wrong_log") for n in range(16)),
        ticket("SiteSilent", site="a"),
        ticket("SiteSilent", site="b"),
    )
    alertmanager.told()
    groups = {
        (group["labels"]["alertname"], group["receiver"]["name"]): len(group["alerts"])
        for group in alertmanager.get("alerts/groups")
    }
    assert groups == {("PartitionStopped", "page"): 16, ("SiteSilent", "ticket"): 2}
