"""What is deployed for alerting agrees with itself: rules, runbook, routes; and with the metrics that there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from services.cli.metrics_page import sections
from tests.support.visit_counter import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
FOREIGN = re.compile(r"^(redis|node|probe|process|prometheus|alertmanager|python)_")
"""Metrics of others: the Redis, node and blackbox exporters, Prometheus itself, the client library."""

WORD = re.compile(r"\b(?:visit_counter_|redis_|node_|probe_|process_)\w+\b")


def rules(kind: str) -> list[dict[str, Any]]:
    """Return all rules that have a key `kind`."""
    return [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


def headings() -> dict[str, str]:
    """Return heading of an alert → what stands under it."""
    text = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
    parts = re.split(r"^### (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alert_has_its_heading_and_every_heading_its_alert() -> None:
    """And each alert links there."""
    alerts = rules("alert")
    assert {rule["alert"] for rule in alerts} == set(headings())
    for rule in alerts:
        assert rule["annotations"]["runbook_url"] == f"deploy/RUNBOOK.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("alert", headings())
def test_every_heading_says_what_to_do(alert: str) -> None:
    """Meaning, the first three steps, how it ends."""
    text = headings()[alert]
    assert "**Meaning.**" in text
    assert re.findall(r"^(\d)\. ", text, flags=re.MULTILINE) == ["1", "2", "3"]
    assert "**Ends**" in text


def test_every_alert_is_routed() -> None:
    """Its severity is one that the routes know, and it says in a sentence what is wrong."""
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text("utf-8"))
    routes = {matcher for route in config["route"]["routes"] for matcher in route["matchers"]}
    receivers = {receiver["name"] for receiver in config["receivers"]}
    assert {"page", "ticket", "dead-man"} <= receivers
    for rule in rules("alert"):
        severity = rule["labels"]["severity"]
        known = f"severity = {severity}" in routes or f"alertname = {rule['alert']}" in routes
        assert known, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_inhibitions_name_alerts_that_there_are() -> None:
    """A name that was changed would inhibit nothing, silently."""
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text("utf-8"))
    names = {rule["alert"] for rule in rules("alert")}
    for inhibition in config["inhibit_rules"]:
        for matcher in (*inhibition["source_matchers"], *inhibition["target_matchers"]):
            label, _, value = re.fullmatch(r"(\w+) (=~?) \"?([^\"]+)\"?", matcher).groups()  # type: ignore[union-attr]  # fails if it does not match
            if label == "alertname":
                for pattern in value.split("|"):
                    assert any(re.fullmatch(pattern, name) for name in names), matcher


def test_rules_ask_for_metrics_that_there_are() -> None:
    """Ours exist in the code; others' are of exporters we know."""
    ours = {metric.name for metrics in sections().values() for metric in metrics}
    for rule in (*rules("alert"), *rules("record")):
        queries = re.findall(
            r'query "((?:[^"\\]|\\.)*)"', yaml.safe_dump(rule.get("annotations", {}))
        )
        for name in WORD.findall(" ".join([rule["expr"], *queries])):
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            assert base in ours or FOREIGN.match(name), (
                f"{rule.get('alert') or rule['record']}: {name}"
            )


def test_recorded_series_are_used_and_made() -> None:
    """A rule that asks for a series that nobody records asks in vain."""
    recorded = {rule["record"] for rule in rules("record")}
    pattern = re.compile(r"visit_counter:[\w:]+")
    asked = {
        name
        for rule in (*rules("alert"), *rules("record"))
        for name in pattern.findall(rule["expr"])
    }
    assert asked <= recorded
