"""The embedded pair: event log and counter store in one SQLite file, for one small portal (DESIGN 3.6).

One process a file counts and serves; a one-shot command may append a record beside it. What is where: `sqlite_schema` the tables,
`sqlite_file` threads, lock and errors, `sqlite_log` and `sqlite_store` the two ports, `sqlite_reading` and `sqlite_apply` the
statements.
"""

from __future__ import annotations

from pathlib import Path

from services.backends.sqlite_file import SqliteFile, is_in_use
from services.backends.sqlite_log import SqliteConsumer, SqliteLog
from services.backends.sqlite_store import SqliteStore

__all__ = ["SqliteConsumer", "SqliteFile", "SqliteLog", "SqliteStore", "is_in_use", "open_sqlite"]


def open_sqlite(path: Path, *, exclusive: bool = True) -> tuple[SqliteLog, SqliteStore]:
    """Return log and store on one file, not yet opened; the file closes with the last of them.

    Args:
        path: made with its folder if missing.
        exclusive: a service, of which there may be one a file; `False` for a one-shot command.
    """
    file = SqliteFile(path, exclusive=exclusive)
    return SqliteLog(file), SqliteStore(file)
