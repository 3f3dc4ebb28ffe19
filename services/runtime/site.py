"""One declared site: its settings as written, and the same made ready for use."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.runtime.origin import declared_origin, origin_matcher
from visits.counters import Metric
from visits.errors import SettingsError
from visits.fold import ONLINE_MINUTES_MAX
from visits.page import OTHER, canonical_page
from visits.pattern import compile_pattern, matcher
from visits.record import SITE_PATTERN
from visits.window import Windows, check_zone


class SiteSettings(BaseModel):
    """What may stand under `[sites.ID]`, `[defaults]` and in a file of `sites_dir` (DESIGN 4.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", max_length=200, description="the portal's name")
    lang: Literal["vi", "en"] = Field("vi", description="language of widget and pages")
    origins: tuple[str, ...] = Field((), description="where the widget may run; empty: anywhere")
    timezone: str = Field(
        "Asia/Ho_Chi_Minh", description="IANA name of the zone the days are cut in"
    )
    windows: Windows = Field(Windows.ROLLING, description="rolling or calendar")
    metric: Metric = Field(Metric.VISITS, description="visits, views or visitors")
    online_minutes: int = Field(
        5, ge=1, le=ONLINE_MINUTES_MAX, description="how long a reader counts as online"
    )
    pages: tuple[str, ...] = Field(
        ("/**",), description="patterns of pages with a counter of their own"
    )
    exclude_pages: tuple[str, ...] = Field(
        (), description="patterns of pages counted for the site only"
    )
    query_keys: tuple[str, ...] = Field(
        (), description="query parameters that belong to a page's name"
    )
    ignore_case: bool = Field(
        False, description="/Tin-Tuc and /tin-tuc are one page, ?ID= and ?id= one parameter"
    )
    tokens: tuple[str, ...] = Field((), description="sha256:… of bearer tokens")
    test: bool = Field(False, description="load tests may count into it")
    closed: str = Field("", description="reserved: since when the site is closed")
    parent: str = Field("", description="reserved")
    ids_before: tuple[str, ...] = Field((), description="reserved: former ids")
    identity: Literal["address", "storage"] = Field(
        "address", description="how readers are told apart"
    )

    @field_validator("origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(declared_origin(origin) for origin in origins)

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = f'{name!r} is no IANA time zone; e.g. "Asia/Ho_Chi_Minh"'
            raise ValueError(msg) from error
        return name

    @field_validator("pages", "exclude_pages")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            compile_pattern(pattern)
        return patterns

    @field_validator("tokens")
    @classmethod
    def _tokens(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        for token in tokens:
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", token):
                msg = "a token is kept as sha256:… ; `visit-counter token new --site S` writes it"
                raise ValueError(msg)
        return tokens


class Site(msgspec.Struct, frozen=True):
    """A site made ready.

    Attributes:
        id: its id.
        settings: as written.
        zone: its time zone.
        has_own_page: claims that a canonical page may have a counter of its own.
        query_keys: as a set.
        allows_origin: claims that pages of an origin (or of a URL of it) may use this site's counter.
    """

    id: str
    settings: SiteSettings
    zone: ZoneInfo
    has_own_page: Callable[[str], bool]
    query_keys: frozenset[str]
    allows_origin: Callable[[str], bool]

    def page(self, address: str) -> str:
        """Return the page an address counts for: canonical, or `(other)` where the site's patterns leave it out.

        Raises:
            PageError: the address names no page.
        """
        page = canonical_page(address, self.query_keys, ignore_case=self.settings.ignore_case)
        return page if page == OTHER or self.has_own_page(page) else OTHER

    def pattern(self, text: str) -> str:
        """Return a page pattern as it is compared: its path in lower case where the site's pages are."""
        return _compared(text, ignore_case=self.settings.ignore_case)


def make_site(name: str, settings: SiteSettings, bucket_minutes: int, year: int) -> Site:
    """Make a declared site ready.

    Args:
        name: its id.
        settings: as written.
        bucket_minutes: the size of a bucket; the zone must fit it.
        year: from which the zone is checked, ten years ahead.

    Raises:
        SettingsError: a bad id, or a zone whose days do not begin with a bucket.
    """
    if not SITE_PATTERN.fullmatch(name):
        msg = f"[sites.{name}]: a site id has 1 to 63 of a-z, 0-9 and '-', and neither begins nor ends with '-'"
        raise SettingsError(msg)
    zone = ZoneInfo(settings.timezone)
    odd = check_zone(zone, bucket_minutes, year)
    if odd is not None:
        smaller = next(
            (m for m in (30, 15) if m < bucket_minutes and check_zone(zone, m, year) is None), None
        )
        mend = f"set store.bucket_minutes = {smaller}" if smaller else "choose another timezone"
        msg = (
            f"[sites.{name}] timezone = {settings.timezone!r}: the local day {odd} does not begin with a bucket of "
            f"{bucket_minutes} minutes; {mend}"
        )
        raise SettingsError(msg)
    owns, excluded = (
        matcher(_compared(pattern, ignore_case=settings.ignore_case) for pattern in patterns)
        for patterns in (settings.pages, settings.exclude_pages)
    )
    has_own_page = (
        owns if not settings.exclude_pages else lambda page: owns(page) and not excluded(page)
    )
    allows_origin = origin_matcher(settings.origins) if settings.origins else _anywhere
    return Site(name, settings, zone, has_own_page, frozenset(settings.query_keys), allows_origin)


def _compared(pattern: str, *, ignore_case: bool) -> str:
    if not ignore_case:
        return pattern
    path, mark, query = pattern.partition("?")
    return path.lower() + mark + query


def _anywhere(_origin: str) -> bool:
    return True
