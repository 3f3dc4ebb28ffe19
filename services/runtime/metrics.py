"""Metrics that more than one part of a process exposes: each is made once a registry, by whoever comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from weakref import WeakKeyDictionary

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

BATCH_RECORDS = (1, 10, 100, 500, 1000, 2500, 5000)
"""Edges of histograms of records: an append and a batch hold 5,000 at most."""

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


def show_build(registry: CollectorRegistry) -> None:
    """Show which release this process runs."""
    try:
        release = version("visit-counter")
    except PackageNotFoundError:
        # Run from a folder of sources that was never installed.
        release = "unknown"
    labels = {"version": release, "python": python_version()}
    gauge(registry, "visit_counter_build_info", "Which release runs", list(labels)).labels(
        **labels
    ).set(1)


class NumberCollector(Collector):
    """A metric without labels that is asked for its number when it is read: what the domain counts anyway."""

    def __init__(
        self,
        registry: CollectorRegistry,
        kind: str,
        name: str,
        doc: str,
        number: Callable[[], float],
    ) -> None:
        """Register it; `kind` is `counter` or `gauge`, a counter's name ends in `_total`."""
        self._metric = name, doc, kind
        self._number = number
        registry.register(self)

    label_names: tuple[str, ...] = ()

    def describe(self) -> Iterator[Metric]:
        """Return the metric without its number: how the registry finds a name that is taken."""
        name, doc, kind = self._metric
        yield Metric(name.removesuffix("_total"), doc, kind)

    def collect(self) -> Iterator[Metric]:
        """Return the metric as it is now."""
        for metric in self.describe():
            metric.add_sample(self._metric[0], {}, self._number())
            yield metric


class Series:
    """One number of the hot path: prometheus-client's own take a lock and look at their labels at every step."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add to it; called in the event loop alone."""
        self.value += amount


class SeriesFamily(Collector):
    """A metric whose series are plain numbers, read when they are asked for."""

    def __init__(  # as prometheus-client's own
        self,
        registry: CollectorRegistry,
        kind: str,
        name: str,
        doc: str,
        label: str = "",
        values: Iterable[str] = (),
    ) -> None:
        """Register it.

        Args:
            registry: the process's own.
            kind: `counter` or `gauge`.
            name: full name; a counter's ends in `_total`.
            doc: what it means.
            label: the name of its one label; without, there is one series.
            values: of the label; each has a series from the start.
        """
        self._metric = name, doc, kind
        self._label = label
        self.label_names = (label,) if label else ()
        self._series: dict[str, Series] = {}
        for value in values if label else ("",):
            self.labels(value)
        registry.register(self)

    def labels(self, value: str = "") -> Series:
        """Return the series of one value of the label, made if there is none; the caller bounds how many."""
        found = self._series.get(value)
        if found is None:
            found = self._series[value] = Series()
        return found

    def describe(self) -> Iterator[Metric]:
        """Return the metric without its series: how the registry finds a name that is taken."""
        name, doc, kind = self._metric
        yield Metric(name.removesuffix("_total"), doc, kind)

    def collect(self) -> Iterator[Metric]:
        """Return the metric as it is now."""
        for metric in self.describe():
            for value, series in self._series.items():
                labels = {self._label: value} if self._label else {}
                metric.add_sample(self._metric[0], labels, series.value)
            yield metric


class Described(Struct, frozen=True, order=True):
    """What there is to say of a metric.

    Attributes:
        name: in full, as queries write it.
        kind: `counter`, `gauge` or `histogram`.
        doc: what it means.
        labels: the names of its labels.
        edges: the upper edges of a histogram's buckets.
    """

    name: str
    kind: str
    doc: str
    labels: tuple[str, ...]
    edges: tuple[float, ...] = ()


def described(registry: CollectorRegistry) -> list[Described]:
    """Return what our own metrics in a registry are, by name; those that have no series yet too."""
    found: list[Described] = []
    for collector in set(registry._collector_to_names):  # noqa: SLF001  # there is no public list
        if not isinstance(collector, MetricWrapperBase | NumberCollector | SeriesFamily):
            continue  # what the client library shows of process and interpreter
        labels = (
            collector._labelnames  # noqa: SLF001  # likewise
            if isinstance(collector, MetricWrapperBase)
            else collector.label_names
        )
        edges = tuple(getattr(collector, "_upper_bounds", ()))
        for metric in collector.describe():
            name = metric.name + ("_total" if metric.type == "counter" else "")
            found.append(Described(name, metric.type, metric.documentation, tuple(labels), edges))
    return sorted(found)
