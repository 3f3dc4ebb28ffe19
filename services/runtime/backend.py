"""Which adapters a configuration asks for, and how they are opened while their servers may still be starting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from services.backends.port import CounterStore, EventLog
from services.backends.sqlite import open_sqlite
from services.runtime.settings import Configuration
from visits.errors import UnavailableError

RETRY_SECONDS = 1.0

log = structlog.get_logger()


class Backends(NamedTuple):
    """One pair of log and store."""

    log: EventLog
    store: CounterStore

    async def open(
        self,
        on_wait: Callable[[str], None] = lambda _reason: None,
        *,
        only_store: bool = False,
    ) -> None:
        """Open both, trying again for as long as their servers are away; a wrong setting ends it.

        Args:
            on_wait: hears what is waited for.
            only_store: leave the log alone; who only reads numbers does not need it.

        Raises:
            SettingsError: naming the setting and its mend.
        """
        for backend in (self.store,) if only_store else self:
            while True:
                try:
                    await backend.open()
                    break
                except UnavailableError as error:
                    log.warning("waiting for log or store", reason=str(error))
                    on_wait(f"waiting for log or store: {error}")
                    await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Close both."""
        await self.log.close()
        await self.store.close()


def make_backends(configuration: Configuration, *, exclusive: bool = True) -> Backends:
    """Make the pair a configuration names, not yet opened.

    Args:
        configuration: which.
        exclusive: a service: no second one may use the same SQLite file. A one-shot command says `False`.
    """
    settings = configuration.settings
    if settings.is_embedded:
        return Backends(*open_sqlite(configuration.sqlite_path(), exclusive=exclusive))
    # The embedded pair starts faster without the clients of Kafka and Redis.
    from services.backends.kafka import KafkaLog  # noqa: PLC0415
    from services.backends.redis import RedisStore  # noqa: PLC0415

    event_log = KafkaLog.from_url(
        settings.log.url,
        partitions=settings.log.partitions,
        replication_factor=settings.log.replication,
        session_timeout_seconds=settings.log.session_timeout_seconds,
    )
    return Backends(event_log, RedisStore(settings.store.url))
