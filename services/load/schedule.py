"""When each view is due. The schedule is fixed before the first view is sent and never waits for an answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

NANOSECONDS = 1_000_000_000


class Phase(Struct, frozen=True):
    """A constant rate for some time.

    Attributes:
        rate_per_second: views a second; 0 is a pause.
        seconds: how long.
    """

    rate_per_second: float
    seconds: float

    @property
    def views(self) -> int:
        """How many views are due in it."""
        return round(self.rate_per_second * self.seconds)


class Schedule:
    """Phases one after the other; view k of a phase is due k / rate after the phase began."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        """Lay the phases end to end."""
        self.phases = tuple(phases)
        self.views = sum(phase.views for phase in phases)
        self.duration_ns = round(sum(phase.seconds for phase in phases) * NANOSECONDS)
        self._first = [0, *accumulate(phase.views for phase in phases)]
        self._start_ns = [
            round(seconds * NANOSECONDS)
            for seconds in (0.0, *accumulate(phase.seconds for phase in phases))
        ]

    def due_ns(self, number: int) -> int:
        """Return when a view is due, in nanoseconds after the start.

        Args:
            number: from 0 up to `views`, which stands for the end.
        """
        if number >= self.views:
            return self.duration_ns
        phase = bisect_right(self._first, number) - 1
        rate = self.phases[phase].rate_per_second
        return self._start_ns[phase] + int((number - self._first[phase]) * NANOSECONDS / rate)

    def due_by(self, elapsed_ns: int) -> int:
        """Return how many views are due up to a moment, itself included."""
        if elapsed_ns < 0:
            return 0
        phase = min(bisect_right(self._start_ns, elapsed_ns) - 1, len(self.phases) - 1)
        rate, views = self.phases[phase].rate_per_second, self.phases[phase].views
        within = int((elapsed_ns - self._start_ns[phase]) * rate / NANOSECONDS) + (rate > 0)
        return self._first[phase] + min(within, views)


def parse_seconds(text: str) -> float:
    """Read a duration: `30s`, `5m`, `1.5h`, or a bare number of seconds.

    Raises:
        ValueError: it is none, or not above 0.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    stripped = text.strip().lower()
    unit = units.get(stripped[-1:])
    number = float(stripped if unit is None else stripped[:-1])
    seconds = number * (unit or 1.0)
    if not 0 < seconds < float("inf"):
        msg = f"{text!r} is no duration above 0"
        raise ValueError(msg)
    return seconds
