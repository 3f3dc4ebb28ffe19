"""A backup as something to begin from: the numbers of every partition at the position they were saved at.

One reader serves both pairs: the backup of an embedded file is that file, the one of Kafka + Redis has the same tables without a log,
its partitions as generations.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from services.backends import sqlite_table as tables
from services.backends.generation import SHADOW_KEPT_MS, SITE_TABLES, Generations, Table
from services.backends.sqlite_reading import read_head
from services.backends.sqlite_schema import APPLICATION_ID, BACKUP_ID
from services.runtime.clock import now_ms
from visits.errors import PartitionStoppedError, SettingsError
from visits.state import SCHEMA, Head, Meta, Parameters

KEEP_SECONDS = 5.0


class Base:
    """A backup that is open for reading.

    Attributes:
        path: where it is.
        is_embedded: it is an embedded file, log and all.
        meta: what its store held to.
        heads: partition → where it was counted to; a head's generation is that of the file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Read what it is.

        Raises:
            SettingsError: it is no backup, damaged, or of a newer release.
        """
        self.path = path
        self._connection = connection
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application not in {APPLICATION_ID, BACKUP_ID}:
            raise SettingsError(f"{path} is no backup of visit-counter")
        if version > SCHEMA:
            raise SettingsError(
                f"{path} has schema {version}, this release reads {SCHEMA}: upgrade visit-counter"
            )
        self.is_embedded = application == APPLICATION_ID
        row = connection.execute("SELECT meta FROM meta").fetchone()
        self.meta = None if row is None else msgspec.json.decode(row[0], type=Meta)
        self.heads: dict[int, Head] = {
            partition: read_head(tuple(head))
            for partition, *head in connection.execute(
                "SELECT partition, generation, log_id, position, fingerprint, as_of, log_time, id_window, parameters"
                " FROM live JOIN head USING (generation) WHERE partition >= 0"
            )
        }

    def check(self) -> None:
        """Look through the whole file.

        Raises:
            SettingsError: it is damaged.
        """
        (answer,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise SettingsError(f"{self.path} is damaged: {answer}")

    async def load(self, generations: Generations, partition: int, parameters: Parameters) -> Head:
        """Fill a partition's shadow with what was saved of it; return the head it has now.

        Args:
            generations: of the store to fill.
            partition: which.
            parameters: what will be counted by from there on.

        Raises:
            SettingsError: the partition is not in the backup, or was counted by other parameters.
            StoreUnavailableError: the store does not answer, or another rebuild took the shadow.
        """
        saved = self.heads.get(partition)
        if saved is None:
            raise SettingsError(f"{self.path} has nothing of partition {partition}")
        if saved.parameters != parameters:
            raise SettingsError(
                f"{self.path} was counted by {saved.parameters}, the configuration says {parameters}: "
                "numbers of two kinds cannot be added; take a backup of the same settings"
            )
        number = await generations.start_load(partition, now_ms())
        kept_at = time.monotonic()
        for table, site, rows in self._rows(saved.generation):
            await generations.load(partition, number, table, site, rows, saved)
            if time.monotonic() - kept_at > KEEP_SECONDS:
                kept_at = time.monotonic()
                await generations.keep(partition, number, now_ms() + SHADOW_KEPT_MS)
        await generations.finish_load(partition, number, saved)
        return saved

    def _rows(self, generation: int) -> Iterator[tuple[Table, str, dict[Any, Any]]]:
        """Yield everything, some thousand rows at a time, event ids oldest first."""
        connection = self._connection
        of_sites = [
            (table, site) for site in tables.sites(connection, generation) for table in SITE_TABLES
        ]
        for table, site in [(Table.IDS, ""), *of_sites]:
            after = None
            while rows := tables.following(connection, generation, table, site, after):
                after = next(reversed(rows.items()))
                yield table, site, rows


@contextmanager
def opened_base(path: Path) -> Iterator[Base]:
    """Open a backup for reading.

    Raises:
        SettingsError: it cannot be read, or is none.
    """
    if not path.is_file():
        raise SettingsError(f"{path} is no file")
    try:
        # Immutable: a backup may lie on a medium that cannot be written, and nobody writes to it.
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1",
            uri=True,
            isolation_level=None,
        )
    except sqlite3.Error as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    try:
        yield Base(path, connection)
    except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    except PartitionStoppedError as error:
        raise SettingsError(f"{path} is damaged: {error.detail}") from error
    finally:
        connection.close()
