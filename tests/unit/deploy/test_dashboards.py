"""The committed dashboards: written from their source, complete, and asking for what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deploy.grafana.source.__main__ import written
from services.cli.metrics_page import sections
from tests.support.dashboard import FOLDER, asked, dashboards, panels
from tests.unit.deploy.test_alerting import DEPLOY, FOREIGN, WORD, headings, rules


def all_panels() -> Iterator[Any]:
    for path, dashboard in dashboards().items():
        for _, panel in panels(dashboard):
            yield pytest.param(panel, id=f"{path.stem}-{panel['title']}")


def test_the_committed_files_are_current() -> None:
    """Mend: make dashboards."""
    assert {path: path.read_text("utf-8") for path in FOLDER.glob("*.json")} == written()


def test_there_are_four_with_addresses_of_their_own() -> None:
    """Provisioned dashboards have fixed uids and no ids, and choose their data source by a variable."""
    found = dashboards()
    assert {path.stem for path in found} == {"overview", "pipeline", "sites", "resources"}
    assert len({dashboard["uid"] for dashboard in found.values()}) == len(found)
    for dashboard in found.values():
        assert "id" not in dashboard
        assert dashboard["templating"]["list"][0]["type"] == "datasource"
        marks = dashboard["annotations"]["list"]
        assert any("visit_counter_build_info" in mark["target"]["expr"] for mark in marks)
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("panel", list(all_panels()))
def test_every_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """Unit, description, thresholds, and a link to a heading of the runbook that there is."""
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert len(panel["description"]) > len("Resident")
    assert defaults["thresholds"]["steps"][0]["value"] is None
    [link] = panel["links"]
    assert link["url"].startswith("${runbook}#")
    assert link["url"].partition("#")[2] in {name.lower() for name in headings()}
    assert panel["datasource"]["uid"] == "${datasource}"


def test_rates_go_by_the_range_that_is_seen() -> None:
    """`$__rate_interval` wherever a rate is drawn; an hour or the whole range where that is meant."""
    for one in asked():
        for window in re.findall(r"\[([^\]]+)\]", one.expr):
            assert window in {"$__rate_interval", "$__range", "1h"}, one.where


def test_dashboards_ask_for_metrics_that_there_are() -> None:
    """Ours are in the code or recorded by a rule; others' are of exporters that we know."""
    ours = {metric.name for metrics in sections().values() for metric in metrics}
    recorded = {rule["record"] for rule in rules("record")}
    for one in asked():
        for name in WORD.findall(one.expr):
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            assert base in ours or FOREIGN.match(name), f"{one.where}: {name}"
        for name in re.findall(r"visit_counter:[\w:]+", one.expr):
            assert name in recorded, one.where


def test_alerts_name_dashboards_that_there_are() -> None:
    """The address in an alert's annotation."""
    found = {dashboard["uid"] for dashboard in dashboards().values()}
    for rule in rules("alert"):
        assert rule["annotations"].get("dashboard", next(iter(found))) in found


def test_they_are_provisioned() -> None:
    """From files, unchangeable, with a data source of a fixed uid."""
    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    [provider] = yaml.safe_load((folder / "dashboards" / "visit-counter.yml").read_text("utf-8"))[
        "providers"
    ]
    assert source["uid"] == "prometheus"
    assert provider["allowUiUpdates"] is False
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text("utf-8"))
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert any(str(mount).startswith("./deploy/RUNBOOK.md:") for mount in mounts)
