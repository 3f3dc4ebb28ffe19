"""The commands that run services: `up`, `ingest`, `aggregator`, `api`."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from services.aggregator.part import AggregatorPart
from services.allinone import DEMO_SETTINGS, DEMO_SITE, DemoPart
from services.api.part import ApiPart
from services.backends.port import CounterStore
from services.cli.option import Config, Host, Port, configuration
from services.ingest.part import IngestPart
from services.runtime.application import Part, create_application, serve
from services.runtime.backend import Backends, make_backends
from services.runtime.certificate import CertificateFile
from services.runtime.health import Health
from services.runtime.logs import configure_logging
from services.runtime.loop_lag import LoopLagPart
from services.runtime.metrics import show_build
from services.runtime.open_files import raise_open_files_limit
from services.runtime.reload import ReloadPart
from services.runtime.resources import show_certificate, show_data, show_memory_limit
from services.runtime.settings import CONFIG_NAME, Configuration
from services.runtime.tracing import Tracer, TracingPart, start_tracing
from services.upkeep.nightly import NightlyPart
from visits.errors import SettingsError

OPEN_SECONDS = 2.0
"""How long a start waits for log and store before it serves without them: alive, not ready."""

CLOSE_SECONDS_MAX = 2.0
"""How long the end waits for log and store to be closed; with what is drained before it makes less than 10 s (DESIGN 3.4)."""

Parts = Callable[[Configuration, Backends, Health, CollectorRegistry, Tracer], Sequence[Part]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(ingest)
    app.command()(aggregator)
    app.command()(api)


def up(
    config: Config = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the data; default: data.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) to serve HTTPS with.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    backup_dir: Annotated[
        Path | None, typer.Option(help="Folder for a backup of the data file every night.")
    ] = None,
    backup_keep: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many of those backups are kept.")
    ] = 7,
) -> None:
    """Run everything in one process. Without a configuration: site `demo` and a demo portal at /."""
    is_demo = config is None and not Path(CONFIG_NAME).is_file()
    overrides = dict(DEMO_SETTINGS) if is_demo else {}
    if data is not None:
        url = f"sqlite:{data.resolve() / 'visit-counter.db'}"
        overrides |= {"log": {"url": url}, "store": {"url": url}}
    found = configuration(config, overrides)
    if backup_dir is not None and not found.settings.is_embedded:
        raise SettingsError(
            "--backup-dir is for the embedded file; run `visit-counter backup FILE` every night for Redis"
        )
    scheme = "https" if tls_cert else "http"

    def parts(
        found: Configuration,
        backends: Backends,
        health: Health,
        registry: CollectorRegistry,
        tracer: Tracer,
    ) -> Sequence[Part]:
        event_log, store = backends
        demo: list[Part] = [DemoPart(found, event_log, store)] if is_demo else []
        return [
            IngestPart(found, event_log, store, health, registry, tracer),
            AggregatorPart(found, event_log, store, health, registry, tracer),
            ApiPart(found, event_log, store, health, registry, demo=is_demo),
            ReloadPart(found, health, registry),
            *demo,
            *_nightly(found, store, backup_dir, backup_keep),
        ]

    print(
        f"visit-counter: http address  {scheme}://{host}:{port}/", flush=True
    )  # the line people look for
    if is_demo:
        print(
            f"visit-counter: demo portal, site {DEMO_SITE!r}, sample figures. Stop with Ctrl-C.",
            flush=True,
        )
    _run("visit-counter", found, parts, host, port, tls_cert, tls_key)


def _nightly(
    found: Configuration, store: CounterStore, folder: Path | None, keep: int
) -> list[Part]:
    """Return what makes backups of an embedded file."""
    if not found.settings.is_embedded:
        return []
    return [NightlyPart(found.sqlite_path(), store, folder, keep)]


def ingest(config: Config = None, host: Host = "127.0.0.1", port: Port = 8081) -> None:
    """Take page views and acknowledge them once the log has them."""
    _run(
        "visit-counter ingest",
        configuration(config),
        lambda found, pair, health, registry, tracer: [
            IngestPart(found, *pair, health, registry, tracer),
            ReloadPart(found, health, registry),
        ],
        host,
        port,
    )


def aggregator(config: Config = None, host: Host = "127.0.0.1", port: Port = 8082) -> None:
    """Count what the log holds, exactly once."""
    _run(
        "visit-counter aggregator",
        configuration(config),
        lambda found, pair, health, registry, tracer: [
            AggregatorPart(found, *pair, health, registry, tracer),
            ReloadPart(found, health, registry),
        ],
        host,
        port,
    )


def api(config: Config = None, host: Host = "127.0.0.1", port: Port = 8083) -> None:
    """Serve the numbers to widgets, readers and programs."""
    _run(
        "visit-counter api",
        configuration(config),
        lambda found, pair, health, registry, _tracer: [
            ApiPart(found, *pair, health, registry),
            ReloadPart(found, health, registry),
        ],
        host,
        port,
        only_store=True,
    )


def _run(
    title: str,
    found: Configuration,
    parts: Parts,
    host: str,
    port: int,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    *,
    only_store: bool = False,
) -> None:
    """Open the backends and serve until told to stop."""
    settings = found.settings
    service = title.rpartition(" ")[2]
    configure_logging(service, level=settings.logging.level.upper(), form=settings.logging.format)
    tracer = start_tracing(settings.telemetry, service)
    raise_open_files_limit()
    _check_port(host, port)

    async def run() -> None:
        backends = make_backends(found)
        health, registry = Health(), CollectorRegistry()
        opening = asyncio.create_task(
            backends.open(lambda reason: health.obstruct("start", reason), only_store=only_store)
        )
        await _open(opening)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        show_build(registry)
        show_memory_limit(registry)
        if found.settings.is_embedded:
            show_data(registry, found.sqlite_path())
        gateway = found.settings.server.certificate
        _show_certificate(registry, tls_cert, None if gateway is None else found.base / gateway)
        app = create_application(
            title,
            [
                *parts(found, backends, health, registry, tracer),
                LoopLagPart(registry),
                TracingPart(tracer),
            ],
            health,
            registry,
            found.settings.server,
            opening,
        )
        try:
            await serve(
                app,
                health,
                registry,
                found.settings.server,
                host=host,
                port=port,
                tls_cert=None if tls_cert is None else str(tls_cert),
                tls_key=None if tls_key is None else str(tls_key),
            )
            if opening.done():
                opening.result()
        finally:
            opening.cancel()
            # What does not answer by now is left as it is: the process ends, and with it the connections.
            with suppress(TimeoutError):
                await asyncio.wait_for(backends.close(), CLOSE_SECONDS_MAX)

    if sys.platform == "win32":
        asyncio.run(run())
    else:
        import uvloop  # noqa: PLC0415  # not on Windows

        uvloop.run(run())


def _show_certificate(
    registry: CollectorRegistry, served: Path | None, gateway: Path | None
) -> None:
    """Show when the certificate ends that this process serves, or else the gateway's.

    Raises:
        SettingsError: it cannot be read.
    """
    file = served or gateway
    if file is None:
        return
    try:
        certificate = CertificateFile(file)
    except (OSError, ValueError) as error:
        flag = "server.certificate" if served is None else "--tls-cert"
        msg = f"{flag} {file}: {error}"
        raise SettingsError(msg) from error
    # What is served was read at the start; what the gateway serves may be renewed at any time.
    first = certificate.ends_at()
    show_certificate(registry, certificate.ends_at if served is None else lambda: first)


async def _open(opening: asyncio.Task[None]) -> None:
    """Wait a moment for what is usually open at once, so that a wrong setting ends the start and nothing else.

    Raises:
        SettingsError: naming the setting and its mend.
    """
    await asyncio.wait({opening}, timeout=OPEN_SECONDS)
    if opening.done():
        opening.result()


def _check_port(host: str, port: int) -> None:
    """Say early and in a sentence that a port cannot be had.

    Raises:
        SettingsError: naming the flag.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = (
                "is taken by another program"
                if taken
                else f"cannot be listened on ({error.strerror})"
            )
            msg = f"port {port} on {host} {why}; choose another one with --port"
            raise SettingsError(msg) from error
