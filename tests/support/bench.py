"""What a benchmark is handed, rounds to measure in, a folder, a place for its figures; and what a figure is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROUNDS = 3
SECONDS = 5.0


@dataclass(frozen=True)
class Target:
    """What a figure is to reach.

    Attributes:
        limit: in the figure's unit.
        is_floor: at least `limit`; else at most.
    """

    limit: float
    is_floor: bool

    def is_met(self, value: float) -> bool:
        """Claim that a value reaches it."""
        return value >= self.limit if self.is_floor else value <= self.limit


@dataclass
class Figure:
    """One measured quantity.

    Attributes:
        benchmark: the module that measured it.
        name: what it is.
        setup: under which circumstances.
        unit: of all values.
        target: what it is to reach, if anything was promised.
        values: one a round.
    """

    benchmark: str
    name: str
    setup: str
    unit: str
    target: Target | None
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The value that is held against the target."""
        return median(self.values)

    @property
    def is_met(self) -> bool | None:
        """Claim that the median reaches the target; `None` where there is none."""
        return None if self.target is None else self.target.is_met(self.median)


class Bench:
    """One benchmark's rounds and figures.

    Attributes:
        directory: for whatever it writes; removed after it.
        seconds: how long one measurement takes that has no length of its own.
        figures: what it recorded, in the order of the first record.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        rounds: int = ROUNDS,
        seconds: float = SECONDS,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Begin without figures; `tell` shows a line while the run goes on."""
        self.directory = directory
        self.seconds = seconds
        self.figures: dict[tuple[str, str], Figure] = {}
        self._name = name
        self._rounds = rounds
        self._tell = tell

    def rounds(self, count: int | None = None) -> Iterator[int]:
        """Yield once a round. Measure every variant once in each, never one variant in all rounds first."""
        rounds = count or self._rounds
        for number in range(rounds):
            self._tell(f"round {number + 1} of {rounds}")
            yield number

    def record(  # each names itself at the call
        self,
        name: str,
        value: float,
        unit: str,
        *,
        setup: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Take down one round's value of a figure.

        Args:
            name: what it is; figures of the same name and set-up are rounds of one figure.
            value: in `unit`.
            unit: as it is printed.
            setup: backends, sizes, clients: what a stranger needs to measure the same.
            at_least: what the median is to reach.
            at_most: what the median is not to exceed.
        """
        target = None
        if at_least is not None:
            target = Target(at_least, is_floor=True)
        elif at_most is not None:
            target = Target(at_most, is_floor=False)
        figure = self.figures.setdefault(
            (name, setup), Figure(self._name, name, setup, unit, target)
        )
        figure.values.append(value)
        self._tell(f"{name} · {setup}: {value:,.4g} {unit}")
