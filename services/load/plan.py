"""What a run is asked to do."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from services.load.access_log import Line, page_views
from services.load.generator import Limits
from services.load.schedule import Phase
from services.load.target import parse_target
from services.load.workload import Replay, Views, Workload
from visits.errors import SettingsError

RUN_LENGTH = 12
_ALPHABET = string.ascii_letters + string.digits


class Plan(Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        url: where views go.
        api_url: where numbers are read; `url` where empty.
        sites: the sites, drawn from evenly; a site named twice gets twice the share.
        phases: the rates, one after the other.
        visitors: invented readers.
        pages: invented pages of each site.
        token: a bearer token of the test sites.
        count_into: sites that may be counted into though they are not for tests.
        replay: page views to send instead of invented ones.
        limits: the bounds.
        run: the beginning of all ids; drawn where empty.
    """

    url: str
    sites: tuple[str, ...]
    phases: tuple[Phase, ...]
    api_url: str = ""
    visitors: int = 1_000
    pages: int = 100
    token: str = ""
    count_into: frozenset[str] = frozenset()
    replay: tuple[Line, ...] = ()
    limits: Limits = Limits()
    run: str = ""

    @property
    def site_names(self) -> tuple[str, ...]:
        """Each site once, in order."""
        return tuple(dict.fromkeys(self.sites))

    @property
    def seconds(self) -> float:
        """How long the schedule is."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def rate_per_second(self) -> float:
        """The mean rate of the schedule."""
        return sum(phase.views for phase in self.phases) / self.seconds

    def workload(self) -> Workload:
        """Return what is to be sent; its ids are those of no other run, unless `run` was given."""
        target = parse_target(self.url)
        run = self.run or "".join(secrets.choice(_ALPHABET) for _ in range(RUN_LENGTH))
        if self.replay:
            return Replay(target, self.sites[0], self.replay, run=run, token=self.token)
        return Views(
            target,
            self.sites,
            run=run,
            visitors=self.visitors,
            pages=self.pages,
            token=self.token,
        )


def read_replay(path: Path) -> Sequence[Line]:
    """Return the page views of an access log.

    Raises:
        SettingsError: it cannot be read, or has none.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            found = page_views(lines)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise SettingsError(msg) from error
    if not found:
        msg = f"{path} has no page view; expected is an access log in the common or combined format"
        raise SettingsError(msg)
    return found
