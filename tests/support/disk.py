"""A small disk of its own for a test, to be filled and freed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILLER = "filler"
CHUNK_BYTES = 4096


class DiskError(RuntimeError):
    """No disk can be mounted here; the message says why."""


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system in memory of that size on a new directory.

    Raises:
        DiskError: mounting is not permitted.
    """
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = f"mount ended with {done.returncode}: {done.stderr.strip()}"
        raise DiskError(message)
    try:
        yield directory
    finally:
        # Lazy: whoever still has a file open there does not hold up the test.
        subprocess.run(["umount", "--lazy", directory], check=True)


def fill(disk: Path) -> None:
    """Take the last byte of a disk, by a file of our own."""
    descriptor = os.open(disk / FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with suppress(OSError):
            while True:
                os.write(descriptor, bytes(CHUNK_BYTES))
    finally:
        os.close(descriptor)


def free(disk: Path) -> None:
    """Give back what `fill` took."""
    (disk / FILLER).unlink()
