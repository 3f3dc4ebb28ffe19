"""Lists the load tests: `make load`, `python -m tests.load`."""

from __future__ import annotations

import ast
from pathlib import Path

SHARED = {"__init__", "__main__", "bare_server", "scenario", "system"}


def main() -> None:
    """Print the name and the first sentence of each load test."""
    print("Load tests; run one with  make load NAME=steady ARGS='--rate 2000 --duration 60s'\n")
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in SHARED or path.stem.startswith("test_") or path.stem == "locustfile":
            continue
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        print(f"  {path.stem.replace('_', '-'):20} {doc.splitlines()[0]}")
    print(
        "\nEach starts a counter of its own (--pair kafka for Kafka and Redis), or loads one that runs: --url, --site, --token."
    )
    print(
        "k6 and Locust, for those who know them: tests/load/k6_views.js, tests/load/locustfile.py."
    )


if __name__ == "__main__":
    main()
