"""Rules of Prometheus under made-up series: `promtool test rules`, with what fires as a set of names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from msgspec import Struct

from tests.support.visit_counter import REPOSITORY

RULES = (
    REPOSITORY / "deploy" / "prometheus" / "rules" / "recording.yml",
    REPOSITORY / "deploy" / "prometheus" / "rules" / "alerts.yml",
)
TIMEOUT_SECONDS = 300

FIRING = (
    'count by (alertname, severity) (ALERTS{alertstate="firing", alertname!="Watchdog"}) > bool 0'
)
"""Which alerts fire at a moment, each once, whatever else its labels say."""


class Question(Struct, frozen=True):
    """What is asked at a moment, and the answer: labels → value.

    Attributes:
        minute: from the beginning of the series.
        expression: PromQL.
        answer: series as PromQL writes them (`{site="a"}`) → value.
    """

    minute: int
    expression: str
    answer: Mapping[str, float]


class Annotated(Struct, frozen=True):
    """What an alert says at a moment.

    Attributes:
        minute: from the beginning of the series.
        alert: its name; it fires once at that moment.
        labels: all of them, but its name.
        annotations: all of them, filled in.
    """

    minute: int
    alert: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Scenario(Struct, frozen=True):
    """Series, and what is asked of them.

    Attributes:
        name: what happens.
        series: as PromQL writes them → promtool's notation of values (`0+60x10`).
        questions: any number.
        interval_minutes: between two values.
        annotated: what an alert says.
    """

    name: str
    series: Mapping[str, str]
    questions: Sequence[Question]
    interval_minutes: int = 1
    annotated: Annotated | None = None


def firing(minute: int, *alerts: str) -> Question:
    """Say that exactly these alerts fire at a minute, each as `Name/severity`; the dead-man fires always."""
    answer = {}
    for alert in alerts:
        name, _, severity = alert.partition("/")
        answer[f'{{alertname="{name}", severity="{severity}"}}'] = 1.0
    return Question(minute, FIRING, answer)


def run(folder: Path, scenarios: Sequence[Scenario], *, evaluated_minutes: int) -> None:
    """Run scenarios; the first that goes otherwise fails with promtool's words.

    Args:
        folder: where the file goes.
        scenarios: any number.
        evaluated_minutes: between two evaluations of all rules.
    """
    content = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": f"{evaluated_minutes}m",
        # Alerts after what they are made from: between two evaluations more than 5 minutes apart, series count as gone.
        "group_eval_order": [name for rules in RULES for name in groups(rules)],
        "tests": [_test(scenario) for scenario in scenarios],
    }
    file = folder / "rules-test.yml"
    # JSON is YAML.
    file.write_text(json.dumps(content), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)],
        capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def groups(rules: Path) -> list[str]:
    """Return the names of a file's groups, in their order."""
    return [group["name"] for group in yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]]


def _test(scenario: Scenario) -> dict[str, object]:
    said = scenario.annotated
    alerts = (
        []
        if said is None
        else [
            {
                "eval_time": f"{said.minute}m",
                "alertname": said.alert,
                "exp_alerts": [{"exp_labels": said.labels, "exp_annotations": said.annotations}],
            }
        ]
    )
    return {
        "alert_rule_test": alerts,
        "name": scenario.name,
        "interval": f"{scenario.interval_minutes}m",
        "input_series": [{"series": s, "values": v} for s, v in scenario.series.items()],
        "promql_expr_test": [
            {
                "expr": question.expression,
                "eval_time": f"{question.minute}m",
                "exp_samples": [{"labels": s, "value": v} for s, v in question.answer.items()],
            }
            for question in scenario.questions
        ],
    }
