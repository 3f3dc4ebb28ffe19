"""What a panel is made of. Every panel has a unit, a description, thresholds and a link into the runbook: they have no defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
GREEN, YELLOW, RED = "green", "yellow", "red"

Json = dict[str, Any]
Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on which colour; the first has no value."""

NONE: Steps = ((None, GREEN),)
"""A number of which no value is bad."""


def above(bad: float, warn: float | None = None) -> Steps:
    """Return thresholds of what should be small."""
    return ((None, GREEN), *(() if warn is None else ((warn, YELLOW),)), (bad, RED))


def below(bad: float, warn: float) -> Steps:
    """Return thresholds of what should be large."""
    return ((None, RED), (bad, YELLOW), (warn, GREEN))


@dataclass(frozen=True)
class Query:
    """One expression, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: its heading.
        description: what it shows and how to read it.
        unit: Grafana's name of the unit.
        thresholds: from which value on which colour.
        runbook: the alert under whose heading the runbook says what to do.
        queries: what is shown.
        kind: how.
        width: columns, of 24.
        height: rows of 30 pixels.
        stacked: whether the series add up to something.
        maximum: of the axis.
        mappings: value → text that stands for it.
    """

    title: str
    description: str
    unit: str
    thresholds: Steps
    runbook: str
    queries: Sequence[Query]
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    maximum: float | None = None
    mappings: dict[str, str] = field(default_factory=dict)

    def json(self, number: int, x: int, y: int) -> Json:
        """Return the panel as Grafana reads it."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "links": [_runbook_link(self.runbook)],
            "targets": [self._target(at, query) for at, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _OPTIONS[self.kind],
        } | ({"transformations": [_ONE_TABLE]} if self.kind == "table" else {})

    def _target(self, at: int, query: Query) -> Json:
        is_instant = self.kind != "timeseries"
        return {
            "refId": chr(ord("A") + at),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "instant": is_instant,
            "range": not is_instant,
            "format": "table" if self.kind == "table" else "time_series",
        }

    def _defaults(self) -> Json:
        steps = [{"value": value, "color": color} for value, color in self.thresholds]
        found: Json = {
            "unit": self.unit,
            "min": 0,
            "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
        }
        if self.maximum is not None:
            found["max"] = self.maximum
        if self.mappings:
            options = {value: {"text": text, "index": 0} for value, text in self.mappings.items()}
            found["mappings"] = [{"type": "value", "options": options}]
        if self.kind == "timeseries":
            found["custom"] = self._drawn()
        return found

    def _drawn(self) -> Json:
        has_bounds = len(self.thresholds) > 1
        return {
            "lineWidth": 1,
            "fillOpacity": 15 if self.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if has_bounds else "off"},
        }


@dataclass(frozen=True)
class Row:
    """A heading, and the panels under it from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """Something to choose: the values of a label."""

    name: str
    label: str
    query: str

    def json(self) -> Json:
        """Return the variable as Grafana reads it."""
        return {
            "name": self.name,
            "label": self.label,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": self.query, "refId": self.name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


@dataclass(frozen=True)
class Dashboard:
    """One dashboard.

    Attributes:
        name: of its file, and of its address.
        title: its heading.
        description: what it answers.
        rows: its panels.
        variables: what is chosen, besides the data source.
    """

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()

    def json(self) -> Json:
        """Return the dashboard as Grafana reads it."""
        return {
            "uid": f"visit-counter-{self.name}",
            "title": f"visit-counter: {self.title}",
            "description": self.description,
            "tags": ["visit-counter"],
            "editable": False,
            "graphTooltip": 1,
            "schemaVersion": 41,
            "version": 1,
            "time": {"from": "now-6h", "to": "now"},
            "refresh": "30s",
            "timezone": "browser",
            "links": [_SIBLINGS],
            "templating": {"list": [*_COMMON, *(one.json() for one in self.variables)]},
            "annotations": {"list": [_RELEASES, _CONFIGURATIONS]},
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        """Return rows and panels, laid out from the top."""
        found: list[Json] = []
        y = 0
        for row in self.rows:
            place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
            found.append(
                {
                    "id": len(found) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
            )
            x, y, height = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, height = 0, y + height, 0
                found.append(panel.json(len(found) + 1, x, y))
                x, height = x + panel.width, max(height, panel.height)
            y += height
        return found


def stat(
    title: str,
    description: str,
    unit: str,
    thresholds: Steps,
    runbook: str,
    expr: str,
    legend: str = "",
    **more: Any,  # what `Panel` takes
) -> Panel:
    """Return a panel of one number."""
    settings: Json = {"kind": "stat", "width": 4, "height": 4} | more
    return Panel(title, description, unit, thresholds, runbook, [Query(expr, legend)], **settings)


def quantiles(metric: str, by: str = "", *, of: Sequence[float] = (0.5, 0.99)) -> list[Query]:
    """Return quantiles of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        Query(
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))",
            f"p{100 * q:g}{legend}",
        )
        for q in of
    ]


def _runbook_link(alert: str) -> Json:
    return {
        "title": f"Runbook: {alert}",
        "url": f"${{runbook}}#{alert.lower()}",
        "type": "link",
        "icon": "doc",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "targetBlank": True,
        "includeVars": False,
        "keepTime": False,
    }


_SIBLINGS = {
    "title": "visit-counter",
    "type": "dashboards",
    "tags": ["visit-counter"],
    "url": "",
    "icon": "external link",
    "tooltip": "",
    "asDropdown": False,
    "targetBlank": False,
    "includeVars": True,
    "keepTime": True,
}

_COMMON: Sequence[Json] = (
    {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "current": {"text": "Prometheus", "value": "prometheus"},
    },
    # Where Grafana serves the runbook itself; a URL of your own may stand here.
    {
        "name": "runbook",
        "type": "constant",
        "hide": 2,
        "query": "/public/visit-counter/RUNBOOK.md",
        "current": {
            "text": "/public/visit-counter/RUNBOOK.md",
            "value": "/public/visit-counter/RUNBOOK.md",
        },
    },
)


def _annotation(name: str, metric: str, label: str, color: str) -> Json:
    """Return marks where a value of a label appears that was not there before."""
    now = f"count by ({label}) ({metric})"
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": color,
        "target": {
            "refId": "Anno",
            "expr": f"{now} unless on ({label}) count by ({label}) ({metric} offset 2m)",
            "interval": "1m",
        },
        # The Prometheus data source's own.
        "titleFormat": name,
        "textFormat": f"{{{{{label}}}}}",
    }


_RELEASES = _annotation("Release", "visit_counter_build_info", "version", "blue")
_CONFIGURATIONS = _annotation("Configuration", "visit_counter_config_info", "hash", "purple")

_REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[str, Json] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _REDUCED,
        "orientation": "auto",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    },
    "table": {"frameIndex": 0, "showHeader": True},
}
_ONE_TABLE = {"id": "merge", "options": {}}
