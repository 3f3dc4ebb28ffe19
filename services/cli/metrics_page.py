"""Writes `docs/metrics.md` from the metrics themselves: `python -m services.cli.metrics_page > docs/metrics.md`.

A test holds the committed page against this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.aggregator.metrics import MISSES, OUTCOMES, STATES, AggregatorMetrics
from services.api.metrics import ApiMetrics
from services.ingest.metrics import KINDS, IngestMetrics
from services.runtime.health import Health
from services.runtime.loop_lag import LoopLagPart
from services.runtime.metrics import Described, described, show_build
from services.runtime.reload import ReloadPart
from services.runtime.resources import show_certificate, show_data, show_memory_limit
from services.runtime.settings import load_configuration
from visits.refusal import Refusal

INTRODUCTION = """\
# Metrics

What `/metrics` of each service shows; `visit-counter up` shows all of it. Written by `python -m services.cli.metrics_page` from the
code: do not edit. How the metrics answer an operator's questions is told in [observability.md](observability.md).

Only `visit_counter_site_views_total` and `visit_counter_site_last_view_timestamp_seconds` carry a site: the first 2,000 that are
declared, the others as `(other)`. No metric carries a page, a visitor, a path or an address of a reader. Besides these, every service
shows its process (`process_*`) and interpreter (`python_*`).
"""

UNITS = {
    "timestamp_seconds": "s since 1970",
    "seconds": "s",
    "bytes": "B",
    "ratio": "0 to 1",
    "records": "records",
    "readers": "readers",
    "views": "views",
    "sites": "sites",
    "clients": "streams",
    "flight": "records",
    "info": "always 1",
    "up": "0 or 1",
    "suspect": "0 or 1",
    "state": "0 or 1",
    "faults": "declarations",
    "received": "requests",
    "refused": "requests",
    "acknowledged": "views",
    "applied": "records",
    "misses": "misses",
    "rebuilds": "rebuilds",
    "requests": "requests",
}
"""What the last words of a name mean."""


def sections() -> dict[str, list[Described]]:
    """Return the metrics of every service, and those of each alone."""
    every, ingest, aggregator, api = (CollectorRegistry() for _ in range(4))
    show_build(every)
    show_memory_limit(every)
    show_data(every, Path("data"))
    show_certificate(every, lambda: 0)
    LoopLagPart(every)
    configuration = load_configuration(None, year=datetime.now(UTC).year)
    ReloadPart(configuration, Health(), every)
    IngestMetrics(ingest, (), (), waiting=lambda: 0, rebuilds=lambda: 0)
    AggregatorMetrics(aggregator)
    ApiMetrics(api)
    return {
        "Every service": described(every),
        "ingest": described(ingest),
        "aggregator": described(aggregator),
        "api": described(api),
    }


def unit_of(metric: Described) -> str:
    """Return a metric's unit, by the last words of its name.

    Raises:
        KeyError: they mean none that is known.
    """
    words = metric.name.removesuffix("_total").split("_")
    two = "_".join(words[-2:])
    return UNITS[two] if two in UNITS else UNITS[words[-1]]


LABELS: dict[str, Iterable[str]] = {
    "kind` of received_total": KINDS,
    "reason` of refused_total": Refusal,
    "outcome` of applied_total": OUTCOMES,
    "kind` of fence_misses_total": MISSES,
    "state` of partition_state": STATES,
}
"""Closed sets of values; all of them have a series from the start."""


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for title, metrics in sections().items():
        parts.append(
            f"\n## {title}\n\n| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n"
        )
        parts += [_row(metric) for metric in metrics]
    parts.append("\n## Values of labels\n\n| label | values |\n|---|---|\n")
    for label, values in LABELS.items():
        parts.append(f"| `{label} | {_some(f'`{value}`' for value in values)} |\n")
    return "".join(parts)


def _row(metric: Described) -> str:
    edges = f" Edges: {_some(f'{edge:g}' for edge in metric.edges[:-1])}." if metric.edges else ""
    labels = _some(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {unit_of(metric)} | {labels} | {metric.doc}.{edges} |\n"


def _some(words: Iterable[str]) -> str:
    return ", ".join(words)


if __name__ == "__main__":
    sys.stdout.write(page())
