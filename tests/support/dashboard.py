"""The committed dashboards, and what they ask Prometheus for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.support.visit_counter import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "grafana" / "dashboards"


class Asked(Struct, frozen=True):
    """One expression of a dashboard.

    Attributes:
        where: dashboard and panel, for people.
        row: the heading under which the panel stands; empty for annotations.
        expr: PromQL, with Grafana's variables.
        is_range: whether it is drawn over time.
    """

    where: str
    row: str
    expr: str
    is_range: bool

    def filled(self, variables: Mapping[str, str]) -> str:
        """Return the expression with the values of variables, as Grafana would send it."""
        text = self.expr
        for name in sorted(variables, key=len, reverse=True):
            text = text.replace(f"${name}", variables[name])
        assert "$" not in text, f"{self.where}: {text}"
        return text


def dashboards() -> dict[Path, dict[str, Any]]:
    """Return file → dashboard."""
    return {path: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the panels of a dashboard with their row's title."""
    row = ""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        else:
            yield row, panel


def asked() -> Iterator[Asked]:
    """Yield everything that all dashboards ask."""
    for dashboard in dashboards().values():
        title = dashboard["title"]
        for annotation in dashboard["annotations"]["list"]:
            yield Asked(f"{title} / {annotation['name']}", "", annotation["target"]["expr"], True)
        for row, panel in panels(dashboard):
            for target in panel["targets"]:
                where = f"{title} / {panel['title']} / {target['refId']}"
                yield Asked(where, row, target["expr"], target["range"])
