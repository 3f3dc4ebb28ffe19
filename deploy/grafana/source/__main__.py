"""Writes deploy/grafana/dashboards/*.json: `python -m deploy.grafana.source`."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.source.overview import OVERVIEW
from deploy.grafana.source.pipeline import PIPELINE
from deploy.grafana.source.resources import RESOURCES
from deploy.grafana.source.sites import SITES

FOLDER = Path(__file__).parents[1] / "dashboards"


def written() -> dict[Path, str]:
    """Return file → its text."""
    return {
        FOLDER / f"{one.name}.json": json.dumps(one.json(), indent=2, ensure_ascii=False) + "\n"
        for one in (OVERVIEW, PIPELINE, SITES, RESOURCES)
    }


def main() -> None:
    """Write all dashboards."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
