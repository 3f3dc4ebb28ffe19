"""Plain series, as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.metrics import SeriesFamily


def test_series_are_read_as_they_are_now() -> None:
    """Counters and gauges, with a label and without, as prometheus-client would write its own."""
    registry = CollectorRegistry()
    counts = SeriesFamily(registry, "counter", "taken_total", "Requests taken", "kind", ["a", "b"])
    alone = SeriesFamily(registry, "counter", "alone_total", "Without a label").labels()
    level = SeriesFamily(registry, "gauge", "level_seconds", "Any number", "site")
    counts.labels("a").inc()
    counts.labels("a").inc(2.5)
    alone.inc()
    level.labels('a "quoted" name').value = -1.5
    found = {
        (family.name, family.type, sample.name, *sample.labels.items()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    assert found == {
        ("taken", "counter", "taken_total", ("kind", "a")): 3.5,
        ("taken", "counter", "taken_total", ("kind", "b")): 0,
        ("alone", "counter", "alone_total"): 1,
        ("level_seconds", "gauge", "level_seconds", ("site", 'a "quoted" name')): -1.5,
    }
    assert registry.get_sample_value("taken_total", {"kind": "a"}) == 3.5


def test_a_name_is_registered_once() -> None:
    """Two parts of a process do not count into series of one name."""
    registry = CollectorRegistry()
    SeriesFamily(registry, "counter", "taken_total", "Requests taken")
    with pytest.raises(ValueError, match="taken"):
        SeriesFamily(registry, "counter", "taken_total", "Requests taken")
