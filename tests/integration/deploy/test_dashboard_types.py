"""The dashboards are what Grafana says dashboards are: checked by TypeScript against `@grafana/schema`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.dashboard import dashboards, panels
from tests.support.visit_counter import REPOSITORY

GRAFANA = REPOSITORY / "deploy" / "grafana"


def compiled(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Check a program that imports from `types.ts`."""
    file = folder / "dashboards.ts"
    file.write_text(program, encoding="utf-8")
    settings = json.loads((GRAFANA / "tsconfig.json").read_text(encoding="utf-8"))
    config = folder / "tsconfig.json"
    config.write_text(json.dumps(settings | {"files": [str(file)]}), encoding="utf-8")
    tsc = GRAFANA / "node_modules" / ".bin" / "tsc"
    return subprocess.run([tsc, "-p", config], capture_output=True, text=True, check=False)


def program(found: list[dict[str, Any]]) -> str:
    """Return all dashboards, and the options of all panels, as typed constants."""
    lines = [f'import type * as grafana from "{GRAFANA / "types"}";']

    def add(kind: str, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False)
        lines.append(f"export const n{len(lines)}: grafana.{kind} = {text};")

    for dashboard in found:
        add("AnyDashboard", dashboard)
        for _, panel in panels(dashboard):
            kind = panel["type"].capitalize()
            add(f"{kind}Options", panel["options"])
            if "custom" in panel["fieldConfig"]["defaults"]:
                add(f"{kind}Custom", panel["fieldConfig"]["defaults"]["custom"])
    return "\n".join(lines)


def test_the_dashboards_have_grafanas_types(tmp_path: Path) -> None:
    """All four, with their panels' own options."""
    done = compiled(tmp_path, program(list(dashboards().values())))
    assert done.returncode == 0, done.stdout


def test_a_mistake_would_be_found(tmp_path: Path) -> None:
    """A misspelt key, a value that is none of those allowed, an option that a panel has not."""
    for number, spoil in enumerate((_misspell, _mistake_value, _mistake_option)):
        dashboard = next(iter(dashboards().values()))
        spoil(dashboard)
        folder = tmp_path / str(number)
        folder.mkdir()
        done = compiled(folder, program([dashboard]))
        assert "error TS" in done.stdout, spoil.__name__


def _misspell(dashboard: dict[str, Any]) -> None:
    dashboard["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"


def _mistake_value(dashboard: dict[str, Any]) -> None:
    dashboard["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "relative"


def _mistake_option(dashboard: dict[str, Any]) -> None:
    dashboard["panels"][1]["options"]["colourMode"] = "value"
