"""The page of all metrics is what the code says."""

from __future__ import annotations

from pathlib import Path

from services.cli.metrics_page import page, sections, unit_of
from tests.support.visit_counter import REPOSITORY

PAGE = REPOSITORY / "docs" / "metrics.md"


def test_the_committed_page_is_current() -> None:
    """Mend: python -m services.cli.metrics_page > docs/metrics.md."""
    assert Path(PAGE).read_text(encoding="utf-8") == page()


def test_every_metric_says_its_unit_and_meaning() -> None:
    """A counter ends in `_total`, nothing else does; no sentence ends twice."""
    for metrics in sections().values():
        assert metrics
        for metric in metrics:
            assert unit_of(metric)
            assert metric.doc
            assert not metric.doc.endswith(".")
            assert metric.name.endswith("_total") == (metric.kind == "counter")
            assert metric.name.startswith("visit_counter_")
