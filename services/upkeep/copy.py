"""Copies an embedded file while others write to it: one moment of it, whole, without the salts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from services.backends.sqlite_file import BUSY_SECONDS
from services.backends.sqlite_schema import APPLICATION_ID
from visits.errors import SettingsError

VERIFY = ".verify-"
"""What the name of a copy to verify has behind the file's own; the number of its process follows."""


def copy_file(source: Path, target: Path) -> None:
    """Copy an embedded file by SQLite's backup API (https://sqlite.org/backup.html), in one step: no writer is held up.

    The copy is one file without a write-ahead log, for the owner's eyes alone; salts are overwritten in it before anybody can
    read it under its name. It is on the disk when this returns.

    Raises:
        SettingsError: the source is no file of ours, or the target cannot be written.
    """
    with settled(target) as partial:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(reading(source)) as from_, closing(sqlite3.connect(partial)) as to:
            (application,) = from_.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION_ID:
                raise SettingsError(f"{source} is no embedded file of visit-counter")
            from_.backup(to)
            _strip(to)


@contextmanager
def settled(target: Path) -> Iterator[Path]:
    """Yield where to write; what was written there stands under `target`, whole and on the disk, once this ends well.

    Raises:
        SettingsError: it cannot be written; nothing is left, and what stood under `target` before still does.
    """
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        yield partial
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"{target} cannot be written: {error}") from error
    finally:
        for left in (partial, partial.with_name(f"{partial.name}-journal")):
            left.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the copies of verifications that were killed: those whose process is no more."""
    for left in path.parent.glob(f"{path.name}{VERIFY}*"):
        number = left.name.removeprefix(f"{path.name}{VERIFY}").partition(".")[0].partition("-")[0]
        if number.isdecimal() and not _is_alive(int(number)):
            left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _strip(connection: sqlite3.Connection) -> None:
    """Destroy the salts of a copy, in its free pages too, and leave one file behind."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("DELETE FROM salt")
    connection.execute("VACUUM")


def reading(path: Path) -> sqlite3.Connection:
    """Open a file to read from, while others may write to it."""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=BUSY_SECONDS
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
