"""The configuration: `visit-counter.toml`, environment (`VISIT_COUNTER_LOG__URL`), secret files; read once, then passed on.

Unknown keys and bad values stop the start with key, value and mend. Precedence: environment, secret files, file, defaults.
Changes together with DESIGN 4.2 and the README's configuration table.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from services.runtime.site import SiteSettings
from services.runtime.site_source import Declared, SiteSource
from services.runtime.site_table import SiteTable
from services.runtime.toml_file import explain, read_toml
from visits.errors import SettingsError
from visits.state import Parameters

OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""https://opentelemetry.io/docs/specs/otel/protocol/exporter/"""

CONFIG_NAME = "visit-counter.toml"
ENV_PREFIX = "VISIT_COUNTER_"
SECRETS_DIR = Path("/run/secrets")
"""Where Docker and Kubernetes put secret files (Compose specification, "secrets")."""

EMBEDDED_URL = "sqlite:data/visit-counter.db"
LOG_SCHEMES = ("sqlite:", "kafka://")
STORE_SCHEMES = ("sqlite:", "redis://", "rediss://", "redis-cluster://")

Network = IPv4Network | IPv6Network


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=False)


class LogSettings(_Section):
    """Where the events are kept."""

    url: str = Field(EMBEDDED_URL, description="sqlite:PATH or kafka://HOST:PORT[,HOST:PORT]/TOPIC")
    partitions: int | None = Field(
        None, ge=1, le=256, description="when the topic is created; 16 if not said; fixed then"
    )
    replication: int | None = Field(
        None,
        ge=1,
        le=9,
        description="replicas of a topic that is created; 3 where there are 3 brokers",
    )
    session_timeout_seconds: float = Field(
        10.0, ge=6.0, le=300.0, description="after which a silent aggregator loses its partitions"
    )

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        return _check_scheme(url, LOG_SCHEMES)


class StoreSettings(_Section):
    """Where the counters are kept, and what is fixed for the life of a generation."""

    url: str = Field(
        EMBEDDED_URL,
        description="sqlite:PATH (the log's own), redis://, rediss:// or redis-cluster://",
    )
    bucket_minutes: Literal[60, 30, 15] = Field(
        60, description="size of a bucket; zones of half hours need 30"
    )
    max_pages: int = Field(
        200_000, ge=1, le=5_000_000, description="pages of a site with a counter of their own"
    )

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        return _check_scheme(url, STORE_SCHEMES)


class ServerSettings(_Section):
    """The HTTP side of all services."""

    trusted_proxies: tuple[str, ...] = Field(
        (), description="CIDRs; the client is the rightmost address not among them"
    )
    rate_limit_per_second: float = Field(
        50.0, ge=0, le=1_000_000, description="per (site, address); 0 = off"
    )
    rate_limit_burst: int = Field(500, ge=1, le=10_000_000, description="how many may come at once")
    max_streams: int = Field(10_000, ge=0, le=1_000_000, description="open SSE streams a process")
    root_path: str = Field("", description="path prefix under which a proxy serves this")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="own port for /metrics; else beside the routes"
    )
    certificate: Path | None = Field(
        None, description="the gateway's certificate (PEM), whose end the metrics show"
    )
    drain_seconds: float = Field(
        8.0, gt=0, le=600, description="how long SIGTERM waits for what is under way"
    )
    docs: bool = Field(True, description="serve /docs and /openapi.json")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for text in networks:
            if text.strip() == "*":
                msg = "'*' would let every client choose its own address; list your proxies as CIDRs, e.g. \"10.0.0.0/8\""
                raise ValueError(msg)
            ip_network(text, strict=False)
        return networks

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The trusted proxies, parsed."""
        return tuple(ip_network(text, strict=False) for text in self.trusted_proxies)


class AggregatorSettings(_Section):
    """Limits of the aggregator."""

    dead_ratio_max: float = Field(
        0.10, gt=0, le=1, description="stop a partition above this share of unreadable records"
    )


class LoggingSettings(_Section):
    """What the services write to stdout (docs/logging.md)."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="json: one object a line; text: for people; auto: text on a terminal"
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least that is written"
    )


class TelemetrySettings(_Section):
    """Traces by OpenTelemetry (docs/logging.md); needs the extra `otel`."""

    otlp_endpoint: str = Field(
        "",
        description="URL of an OTLP/HTTP collector, e.g. http://collector:4318; empty: no traces",
    )


class Settings(BaseSettings):
    """Everything a service may know of its surroundings."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        secrets_dir=None,
    )

    log: LogSettings = LogSettings()
    store: StoreSettings = StoreSettings()
    server: ServerSettings = ServerSettings()
    aggregator: AggregatorSettings = AggregatorSettings()
    logging: LoggingSettings = LoggingSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    sites_dir: Path | None = Field(None, description="a folder with one SITE.toml a site")
    defaults: SiteSettings = Field(SiteSettings(), description="values for all sites")
    sites: Annotated[dict[str, dict[str, Any]], Field(description="site id → its settings")] = (
        Field(default_factory=dict)
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let environment and secrets win over the file, which comes as the init values."""
        del dotenv_settings
        assert isinstance(init_settings, InitSettingsSource)
        assert isinstance(env_settings, EnvSettingsSource)
        sources: list[PydanticBaseSettingsSource] = [env_settings]
        if SECRETS_DIR.is_dir():
            # Files are named as the variables are: VISIT_COUNTER_STORE__URL.
            sources.append(
                NestedSecretsSettingsSource(file_secret_settings, secrets_dir=SECRETS_DIR)
            )
        # What every program of OpenTelemetry reads stands in where nothing of ours says otherwise.
        endpoint = os.environ.get(OTLP_ENDPOINT, "")
        usual = InitSettingsSource(settings_cls, {"telemetry": {"otlp_endpoint": endpoint}})
        return (*sources, init_settings, usual)

    @property
    def parameters(self) -> Parameters:
        """What is fixed for the life of a generation."""
        return Parameters(bucket_minutes=self.store.bucket_minutes, pages_max=self.store.max_pages)

    @property
    def is_embedded(self) -> bool:
        """Both log and store are one SQLite file."""
        return self.log.url.startswith("sqlite:")


class Configuration(BaseModel):
    """Settings with the sites made ready."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    settings: Settings
    sites: SiteTable
    base: Path
    """Folder that relative paths of the configuration start from."""
    file: Path | None
    """Where it was read; `None`: there is none."""
    overrides: dict[str, Any]
    """What wins over the file."""
    source: SiteSource
    declared: Declared

    def sqlite_path(self) -> Path:
        """Return the file of the embedded pair."""
        return self.base / self.settings.log.url.removeprefix("sqlite:")


def load_configuration(
    path: Path | None, *, year: int, overrides: dict[str, Any] | None = None
) -> Configuration:
    """Read the configuration. A file of `sites_dir` that cannot be used is left out, and told in `declared.faults`.

    Args:
        path: the file; `None`: `visit-counter.toml` of the current folder if there is one, else defaults alone.
        year: the current year, from which the sites' zones are checked.
        overrides: values that win over the file, e.g. for the demo.

    Raises:
        SettingsError: with key, value and mend, all mistakes at once.
    """
    file = path or Path(CONFIG_NAME)
    found = file if path is not None or file.is_file() else None
    settings, text = read_settings(found, overrides or {})
    base = Path.cwd() if found is None else found.resolve().parent
    folder = None if settings.sites_dir is None else base / settings.sites_dir
    source = SiteSource(folder, settings.store.bucket_minutes, year)
    declared = source.declare(settings.sites, settings.defaults, text, str(file))
    at_fault = [fault.reason for fault in declared.faults if fault.file is None]
    if at_fault:
        raise SettingsError("\n".join(at_fault))
    return Configuration(
        settings=settings,
        sites=SiteTable(declared.sites),
        base=base,
        file=found,
        overrides=overrides or {},
        source=source,
        declared=declared,
    )


def read_settings(file: Path | None, overrides: dict[str, Any]) -> tuple[Settings, str]:
    """Read the settings, and the text of their file.

    Raises:
        SettingsError: with key, value and mend.
    """
    values, text = ({}, "") if file is None else read_toml(file)
    try:
        settings = Settings(**(values | overrides))
    except ValidationError as error:
        raise SettingsError(explain(error, str(file or CONFIG_NAME), text)) from error
    _check_pair(settings)
    return settings, text


def _check_scheme(url: str, schemes: tuple[str, ...]) -> str:
    if not url.startswith(schemes):
        msg = f"must begin with one of {', '.join(schemes)}"
        raise ValueError(msg)
    return url


def _check_pair(settings: Settings) -> None:
    """Refuse pairs of log and store that are not made for each other (DESIGN 3.6)."""
    log, store = settings.log.url, settings.store.url
    if log.startswith("sqlite:") != store.startswith("sqlite:"):
        msg = f"log.url = {log!r} and store.url = {store!r}: the pairs are SQLite + SQLite or Kafka + Redis; change one of them"
        raise SettingsError(msg)
    if log.startswith("sqlite:") and log != store:
        msg = f"log.url = {log!r} and store.url = {store!r}: the embedded pair is one file; write the same path in both"
        raise SettingsError(msg)


def environment_keys() -> list[str]:
    """Return the names of the environment variables that were taken as settings, for `check`."""
    return sorted(key for key in os.environ if key.startswith(ENV_PREFIX))
