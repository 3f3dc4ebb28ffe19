"""The alerts: each fires when it should and not otherwise, and each stands in the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.alert_scenarios import scenarios
from tests.support.promtool import FIRING, RULES, run
from tests.support.visit_counter import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"


def alerts() -> list[dict[str, Any]]:
    """Return every alerting rule."""
    found = yaml.safe_load(RULES[1].read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    """Of all alerts, at every moment asked for, exactly those named."""
    found = list(scenarios())
    for minutes in sorted({scenario.interval_minutes for scenario in found}):
        some = [scenario for scenario in found if scenario.interval_minutes == minutes]
        run(tmp_path, some, evaluated_minutes=minutes)


def test_each_alert_is_seen_firing() -> None:
    """An alert that no scenario fires could be one that never does."""
    fired = {
        match
        for scenario in scenarios()
        for question in scenario.questions
        if question.expression == FIRING
        for labels in question.answer
        for match in re.findall(r'alertname="(\w+)"', labels)
    }
    elsewhere = {"Watchdog", "SiteSilent", "ManySitesSilent"}  # test_silent_sites.py
    assert fired | elsewhere == {rule["alert"] for rule in alerts()}


def test_rules_are_well_formed() -> None:
    """By Prometheus' own tool."""
    subprocess.run(["promtool", "check", "rules", *map(str, RULES)], check=True)


def test_routes_lead_to_those_who_are_to_hear() -> None:
    """By Alertmanager's own tool: the file is good, and each kind of alert arrives where it should."""
    subprocess.run(["amtool", "check-config", str(ALERTMANAGER)], check=True)
    for labels, receiver in (
        (["alertname=PartitionStopped", "severity=page"], "page"),
        (["alertname=SiteSilent", "severity=ticket"], "ticket"),
        (["alertname=Watchdog", "severity=none"], "dead-man"),
    ):
        command = ["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        assert told.stdout.strip() == receiver
