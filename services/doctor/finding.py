"""What the doctor says: one finding a hop, and the hops that are broken."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Hop(StrEnum):
    """The places a view comes by, in its order."""

    GATEWAY = "gateway"
    INGEST = "ingest"
    LOG = "log"
    AGGREGATOR = "aggregator"
    STORE = "store"
    API = "api"


class State(StrEnum):
    """How a hop was found."""

    OK = "ok"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    """Not looked at, or not reached since another hop is broken."""


class Finding(Struct, frozen=True):
    """What was found at a hop.

    Attributes:
        hop: where.
        state: how.
        what: one sentence; empty where there is nothing to say.
        mend: what to do about it; empty unless broken.
        seconds: what the hop took of the probe's way; `None`: not measured.
    """

    hop: Hop
    state: State
    what: str = ""
    mend: str = ""
    seconds: float | None = None


class Report(Struct, frozen=True):
    """What became of one probe.

    Attributes:
        site: whose.
        ok: no hop is broken.
        broken: the hops that are, in the order of the way.
        position: `partition:position` of the probe in the log; `None`: it did not get there.
        hops: one finding a hop.
        notes: what else is worth knowing.
    """

    site: str
    ok: bool
    broken: tuple[Hop, ...]
    position: str | None
    hops: tuple[Finding, ...]
    notes: tuple[str, ...]
