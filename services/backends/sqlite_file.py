"""One SQLite file in one process: its lock, its one writer thread, its readers, and what its errors mean.

Nothing here knows a table but by creating it. Two writers of one file starve each other (DESIGN 3.6), so every write of a process
goes through one thread, each as a transaction of its own; readers have read-only connections and see the last commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from services.backends.port import TIMEOUT_SECONDS
from services.backends.sqlite_schema import ADDED_SQL, APPLICATION_ID, SCHEMA_SQL
from visits.errors import (
    LogUnavailableError,
    PartitionStoppedError,
    SettingsError,
    StoppedState,
    UnavailableError,
    VisitCounterError,
)
from visits.state import SCHEMA

BUSY_SECONDS = 5.0
"""How long a statement waits for another process that writes."""

READERS_MAX = 4
"""Reading threads, each with a connection of its own."""

PENDING_MAX = 1_000
"""Operations that may wait for a thread; more of them are turned away at once."""

LOCK_TRIES = 6
LOCK_PAUSE_SECONDS = 0.2
"""A look whether the file is in use holds the lock for an instant; a service that starts tries again this often."""

CLOSE_SECONDS = 5.0

SQLITE_VERSION_MIN = (3, 37, 0)
"""The first release with STRICT tables (https://sqlite.org/stricttables.html)."""

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Result]


class SqliteFile:
    """The file that a log and a store of one process share; opened by the first of them, closed by the last.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path, *, exclusive: bool = True) -> None:
        """Name the file; nothing is touched yet.

        Args:
            path: made with its folder if missing.
            exclusive: a service, of which there may be one a file. `False` is for a one-shot command beside it: no lock.
        """
        self.path = path
        self._exclusive = exclusive
        self._opening = asyncio.Lock()
        self._users = 0
        self._lock_descriptor: int | None = None
        self._identity = (0, 0)
        self._writer: sqlite3.Connection | None = None
        self._writer_thread: ThreadPoolExecutor | None = None
        self._reader_threads: ThreadPoolExecutor | None = None
        self._readers: list[sqlite3.Connection] = []
        self._reader = threading.local()
        self._pending = 0

    async def open(self, unavailable: type[UnavailableError]) -> None:
        """Open it for one more user: take the lock, make the tables if missing, start the threads.

        Args:
            unavailable: which error to raise when it cannot be opened now.

        Raises:
            SettingsError: in use by another process, of a newer release, or no visit-counter file.
            UnavailableError: as said.
        """
        async with self._opening:
            if self._users == 0:
                writer_thread = ThreadPoolExecutor(1, "sqlite-writer")
                try:
                    opening = writer_thread.submit(self._open_writer, unavailable)
                    await asyncio.wrap_future(opening)
                except BaseException:
                    writer_thread.shutdown(wait=False)
                    raise
                self._writer_thread = writer_thread
                self._reader = threading.local()
                self._reader_threads = ThreadPoolExecutor(READERS_MAX, "sqlite-reader")
            self._users += 1

    async def close(self) -> None:
        """Close it for one user; the last one ends the threads and gives the lock back. Never raises."""
        async with self._opening:
            if self._users == 0:
                return
            self._users -= 1
            if self._users:
                return
            writer_thread, reader_threads = self._writer_thread, self._reader_threads
            self._writer_thread = self._reader_threads = None
            assert writer_thread is not None
            assert reader_threads is not None
            # Readers end first: the last connection to close must be one that may clear the write-ahead log away.
            reader_threads.shutdown(wait=False, cancel_futures=True)
            with contextlib.suppress(TimeoutError):
                closing = asyncio.wrap_future(writer_thread.submit(self._close_all, reader_threads))
                await asyncio.wait_for(closing, CLOSE_SECONDS)
            writer_thread.shutdown(wait=False)

    async def write(
        self, operation: Operation[Result], unavailable: type[UnavailableError]
    ) -> Result:
        """Run `operation` on the writer as one transaction; once this returns it is on the disk.

        Raises:
            UnavailableError: `unavailable`; after a time-out the outcome is unknown.
            PartitionStoppedError: `store_corrupt`: what stands in the file is not what belongs there.
        """
        return await self._run(self._writer_thread, self._write, operation, unavailable)

    async def write_once(
        self, operation: Operation[Result], unavailable: type[UnavailableError]
    ) -> Result:
        """Run `operation`, which is one statement, as `write` does: such a one is a transaction by itself.

        Python's lock is let go for every step of SQLite, and a busy event loop gives it back late: a commit that is one step is
        done twice as soon as one of three.

        Raises:
            UnavailableError: as `write`.
            PartitionStoppedError: as `write`.
        """
        return await self._run(self._writer_thread, self._write_once, operation, unavailable)

    async def read(
        self, operation: Operation[Result], unavailable: type[UnavailableError]
    ) -> Result:
        """Run `operation` on a reader; everything it reads is of one moment.

        Raises:
            UnavailableError: `unavailable`.
            PartitionStoppedError: `store_corrupt`.
        """
        return await self._run(self._reader_threads, self._read, operation, unavailable)

    async def checkpoint(self, unavailable: type[UnavailableError]) -> None:
        """Bring everything into the file itself and cut the write-ahead log to nothing.

        Raises:
            UnavailableError: a reader of another process does not let go.
        """
        await self._run(self._writer_thread, self._checkpoint, _checkpoint, unavailable)

    def is_in_use(self) -> bool:
        """Claim that a service holds the lock."""
        return is_in_use(self.path)

    async def _run(
        self,
        threads: ThreadPoolExecutor | None,
        kind: Callable[[Operation[Result], type[UnavailableError]], Result],
        operation: Operation[Result],
        unavailable: type[UnavailableError],
    ) -> Result:
        if threads is None:
            raise unavailable(f"{self.path} is closed")
        if self._pending >= PENDING_MAX:
            raise unavailable(f"{self._pending} operations wait for {self.path} already")
        self._pending += 1
        try:
            # Given up while it still waits, an operation is never run; once it runs, its outcome is unknown.
            future = asyncio.wrap_future(threads.submit(kind, operation, unavailable))
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await future
        except TimeoutError:
            raise unavailable(
                f"{self.path} did not answer in {TIMEOUT_SECONDS:g} s: the disk is too slow or held by another process"
            ) from None
        finally:
            self._pending -= 1

    def _write(self, operation: Operation[Result], unavailable: type[UnavailableError]) -> Result:
        def transaction(writer: sqlite3.Connection) -> Result:
            writer.execute("BEGIN IMMEDIATE")
            try:
                result = operation(writer)
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise
            return result

        return self._write_once(transaction, unavailable)

    def _write_once(
        self, operation: Operation[Result], unavailable: type[UnavailableError]
    ) -> Result:
        assert self._writer is not None
        self._check_identity(unavailable)
        try:
            result = operation(self._writer)
        except sqlite3.Error as error:
            raise translate(error, self.path, unavailable) from error
        # A file that was moved away while this was written would take an acknowledged record with it.
        self._check_identity(unavailable)
        return result

    def _read(self, operation: Operation[Result], unavailable: type[UnavailableError]) -> Result:
        self._check_identity(unavailable)
        try:
            connection = getattr(self._reader, "connection", None)
            if connection is None:
                connection = self._reader.connection = self._connect("ro")
                connection.execute("PRAGMA query_only = ON")
                self._readers.append(connection)
            connection.execute("BEGIN")
            try:
                return operation(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise translate(error, self.path, unavailable) from error

    def _checkpoint(
        self, operation: Operation[Result], unavailable: type[UnavailableError]
    ) -> Result:
        assert self._writer is not None
        try:
            return operation(self._writer)
        except sqlite3.Error as error:
            raise translate(error, self.path, unavailable) from error

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            # Opened and used in one thread, closed by the writer's once that thread has ended.
            check_same_thread=False,
        )
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection

    def _open_writer(self, unavailable: type[UnavailableError]) -> None:
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            raise SettingsError(
                f"SQLite {sqlite3.sqlite_version} is too old: Python must come with 3.37 or newer"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Salts and pseudonyms are nobody else's; SQLite gives its side files the same mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            if self._exclusive:
                self._lock_descriptor = _take_lock(self.path)
            connection = self._connect("rw")
        except OSError as error:
            self._release_lock()
            sentence = f"{self.path} cannot be used: {error.strerror}"
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE}:
                raise unavailable(sentence) from error
            raise SettingsError(f"{sentence}: name another file or mend its rights") from error
        except sqlite3.Error as error:
            self._release_lock()
            raise translate(error, self.path, unavailable) from error
        try:
            _prepare(connection, self.path)
        except BaseException as error:
            connection.close()
            self._release_lock()
            if isinstance(error, sqlite3.Error):
                raise _opening_error(error, self.path, unavailable) from error
            raise
        self._writer = connection
        status = self.path.stat()
        self._identity = (status.st_dev, status.st_ino)

    def _check_identity(self, unavailable: type[UnavailableError]) -> None:
        """Notice a file that was moved away or replaced: what is written to the open one would be lost."""
        try:
            status = self.path.stat()
        except OSError:
            raise unavailable(
                f"{self.path} was moved away: bring it back, or stop and start again"
            ) from None
        if (status.st_dev, status.st_ino) != self._identity:
            raise unavailable(f"{self.path} was replaced by another file: stop and start again")

    def _close_all(self, reader_threads: ThreadPoolExecutor) -> None:
        reader_threads.shutdown(wait=True)
        with contextlib.suppress(sqlite3.Error):
            while self._readers:
                self._readers.pop().close()
        with contextlib.suppress(sqlite3.Error):
            if self._writer is not None:
                # One that never wrote would leave the empty side files of its readers behind.
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self._writer.close()
        self._writer = None
        self._release_lock()

    def _release_lock(self) -> None:
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None


def is_in_use(path: Path) -> bool:
    """Claim that a service holds the lock of an SQLite file."""
    try:
        descriptor = os.open(_lock_path(path), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def translate(
    error: sqlite3.Error, path: Path, unavailable: type[UnavailableError]
) -> VisitCounterError:
    """Return what an error of SQLite means for the caller (https://sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    sentence = _SENTENCES.get(code)
    if sentence is not None:
        return unavailable(f"{path}: {sentence} ({error})")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        detail = f"{path} is damaged: {error}"
        if unavailable is LogUnavailableError:
            return unavailable(detail)
        return PartitionStoppedError(StoppedState.STORE_CORRUPT, detail)
    if code in {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}:
        return PartitionStoppedError(StoppedState.STORE_CORRUPT, f"{path}: {error}")
    return unavailable(f"{path}: {error}")


def _opening_error(
    error: sqlite3.Error, path: Path, unavailable: type[UnavailableError]
) -> VisitCounterError:
    """Return what an error at the start means: what is no database does not become one later."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return SettingsError(f"{path} is no SQLite file: name another one")
    if code == sqlite3.SQLITE_CORRUPT:
        return SettingsError(f"{path} is damaged ({error}): put a backup in its place")
    return translate(error, path, unavailable)


_SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk is full: make room; nothing that was acknowledged is lost",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; nothing that was acknowledged is lost",
    sqlite3.SQLITE_BUSY: "another process holds the file; it is tried again",
    sqlite3.SQLITE_LOCKED: "another connection holds the table; it is tried again",
    sqlite3.SQLITE_READONLY: "the file may not be written: mend its rights",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_NOMEM: "out of memory",
}


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _take_lock(path: Path) -> int:
    """Take the lock of a file for this process and write its id beside.

    Raises:
        SettingsError: another process has it.
    """
    descriptor = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for tries_left in range(LOCK_TRIES - 1, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tries_left:
                time.sleep(LOCK_PAUSE_SECONDS)
                continue
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise SettingsError(
                f"{path} is in use by another visit-counter process (pid {holder}): stop it first"
            ) from None
        break
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set what must hold of the writing connection, and make the tables of an empty file.

    Raises:
        SettingsError: not our file, or of a newer release.
    """
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("BEGIN IMMEDIATE")
    try:
        _make_tables(connection, path)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA journal_mode = WAL").fetchone()


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise SettingsError(f"{path} is an SQLite file of another program: name another file")
    if version > SCHEMA:
        raise SettingsError(
            f"{path} has schema {version}, this release reads {SCHEMA}: upgrade visit-counter"
        )
    if not tables:
        for statement in SCHEMA_SQL:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    for statement in ADDED_SQL:
        connection.execute(statement)


def _checkpoint(connection: sqlite3.Connection) -> None:
    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        error = sqlite3.OperationalError("a reader holds the write-ahead log")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error
