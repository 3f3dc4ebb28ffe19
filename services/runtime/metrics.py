"""Metrics that more than one part of a process exposes: each is made once a registry, by whoever comes first."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Gauge

_gauges: WeakKeyDictionary[CollectorRegistry, dict[str, Gauge]] = WeakKeyDictionary()


def gauge(registry: CollectorRegistry, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
    """Return the gauge of that name, registering it if no other part of this process has.

    Args:
        registry: the process's own.
        name: full name, with its prefix and unit.
        doc: what it means; the first caller's stands.
        labels: names of its labels; all callers say the same.
    """
    known = _gauges.setdefault(registry, {})
    if name not in known:
        known[name] = Gauge(name, doc, labels, registry=registry)
    return known[name]
