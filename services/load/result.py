"""The result of a run as data: what `--json` prints. Changes together with `docs/load-testing.md`."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from services.load.balance import Balance
from services.load.histogram import Histogram
from services.load.timeline import Row

SCHEMA = 1
REACHED_SHARE = 0.99
"""A run that sent less than this share of the rate asked for has not measured what was asked (exit status 2)."""

GENERATOR_BUSY = 0.9
"""From this share of a core on the generator itself may be what is slow."""


class Percentiles(Struct, frozen=True):
    """A distribution of durations in milliseconds; percentiles are at most 0.8 % too long, `max` is exact."""

    samples: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p99_9_ms: float
    max_ms: float


class Asked(Struct, frozen=True):
    """What was asked for."""

    url: str
    sites: tuple[str, ...]
    rate_per_second: float
    seconds: float
    views: int
    visitors: int
    pages: int
    connections: int
    answer_seconds: float
    is_retrying: bool
    has_token: bool
    replayed_lines: int


class Rate(Struct, frozen=True):
    """Views a second.

    Attributes:
        asked: over the schedule, or over what of it had passed when the run was stopped.
        reached: sent, over the time until the last was sent.
        acknowledged: answered as counted, over the same time.
        is_reached: at least 99 % of what was asked.
    """

    asked: float
    reached: float
    acknowledged: float
    is_reached: bool


class Generating(Struct, frozen=True):
    """What the generator itself did.

    Attributes:
        cpu_seconds: of this process, from first to last view.
        cpu_share: of one core.
        connections: opened in all.
        in_flight_max: most requests under way at once.
        repeats: sends that were repeats.
        bytes_sent, bytes_received: HTTP, without TLS and TCP.
    """

    cpu_seconds: float
    cpu_share: float
    connections: int
    in_flight_max: int
    repeats: int
    bytes_sent: int
    bytes_received: int


class Result(Struct, frozen=True, kw_only=True):
    """Everything a run found.

    Attributes:
        schema: of this document.
        started_at: UTC.
        interrupted: stopped before its end.
        rate: asked and reached.
        latency: from the moment a view was due until it was acknowledged, waiting and repeats included.
        service: from sending to the answer, one try each, whatever the answer: what a closed loop reports.
        declined: from the moment a view was due until any other answer (refusals, 503).
        delay: from the moment a view was due until it was sent: the generator's own, and waiting for a free connection.
        visible: from the acknowledgement until the view was in the numbers, by a sample.
        statuses: HTTP status → answers, repeats included.
        errors: why there was no answer → how often.
        balance: the books.
        generator: its own figures.
        timeline: one row an interval.
        latency_curve: (percent, milliseconds) of `latency`, for plots.
    """

    schema: int
    version: str
    started_at: str
    interrupted: bool
    asked: Asked
    rate: Rate
    latency: Percentiles
    service: Percentiles
    declined: Percentiles
    delay: Percentiles
    visible: Percentiles
    statuses: dict[str, int]
    errors: dict[str, int]
    balance: Balance
    generator: Generating
    timeline: tuple[Row, ...]
    latency_curve: tuple[tuple[float, float], ...]
    service_curve: tuple[tuple[float, float], ...]

    @property
    def exit_status(self) -> int:
        """0: the books close and the rate was reached; 1: they do not close; 2: it was not reached."""
        if not self.balance.closes:
            return 1
        return 0 if self.rate.is_reached else 2


def percentiles(histogram: Histogram) -> Percentiles:
    """Return a distribution's figures; all 0 without samples."""
    p50, p90, p99, p99_9 = (histogram.percentile_us(p) / 1000 for p in (50, 90, 99, 99.9))
    mean = histogram.sum_us / histogram.count / 1000 if histogram.count else 0.0
    return Percentiles(
        histogram.count, round(mean, 3), p50, p90, p99, p99_9, histogram.max_us / 1000
    )


def curve(histogram: Histogram) -> tuple[tuple[float, float], ...]:
    """Return (percent of samples, milliseconds they do not exceed), upwards; ends with 100 % and the longest."""
    points = []
    so_far = 0
    for longest_us, samples in histogram.filled():
        so_far += samples
        points.append((round(100 * so_far / histogram.count, 5), longest_us / 1000))
    return tuple(_thinned(points))


def _thinned(points: list[tuple[float, float]], most: int = 400) -> Iterable[tuple[float, float]]:
    step = max(1, len(points) // most)
    return [point for index, point in enumerate(points) if index % step == 0 or point[0] >= 99]  # noqa: PLR2004  # the tail is what one looks for
