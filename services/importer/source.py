"""A file to import, or standard input: opened, unpacked, told apart by its first line, read line by line with bounded lines."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import cast

from visits.errors import InputError

STDIN = "-"
LINE_BYTES_MAX = 64 * 1024
"""No web server writes longer lines: their request lines end at 8 KB (Apache's LimitRequestLine), 16 KB with IIS."""

HEAD_BYTES = 4096
"""How much of a file is looked at to tell its format, and whether it is another one's copy."""

_READ_ERRORS = (OSError, EOFError, zlib.error)
_GZIP_MAGIC = b"\x1f\x8b"
_DAY = re.compile(r'"?\d{4}-?\d\d-?\d\d"?[,;\t]')
_HEADING = re.compile(r'"?(date|day|from|ngày)"?\s*[,;\t]', re.IGNORECASE)
_W3C_LINE = re.compile(r"\d{4}-\d\d-\d\d\s+\d\d:\d\d:\d\d\s")


class Format(StrEnum):
    """What a file may hold."""

    AUTO = "auto"
    """By its first line."""
    NCSA = "ncsa"
    """Apache's and nginx's common or combined format."""
    W3C = "w3c"
    """IIS."""
    CSV = "csv"
    """Day totals."""


class SourceError(InputError):
    """A file that cannot be read, or not to its end; names it."""


class Source:
    """One file, open.

    Attributes:
        name: its base name, or `-`.
        size: its bytes as they lie on the disk; `None` where that cannot be known.
        head: how it begins, unpacked.
        format: what its first line shows it to be.
    """

    def __init__(self, path: str, asked: Format = Format.AUTO) -> None:
        """Open the file and look at its first line.

        Args:
            path: a file, packed by gzip or not, or `-`.
            asked: what the file is said to hold.

        Raises:
            SourceError: there is no such file.
        """
        self.name = path if path == STDIN else Path(path).name
        self._path = path
        try:
            # Closed by `close`: its lines are read long after this.
            self._raw = _stdin() if path == STDIN else Path(path).open("rb")  # noqa: SIM115
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            # A pipe has no size, and no position to be told.
            status = os.fstat(self._raw.fileno())
            self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
            is_packed = self._raw.peek(2)[:2] == _GZIP_MAGIC
            self._lines = (
                io.BufferedReader(gzip.GzipFile(fileobj=self._raw)) if is_packed else self._raw
            )
            self.head = self._lines.peek(HEAD_BYTES)[:HEAD_BYTES]
        except _READ_ERRORS as error:
            self.close()
            raise SourceError(f"{path} is damaged: {error}") from error
        self.format = _detect(self.head) if asked is Format.AUTO else asked

    def position(self) -> int:
        """Return how many bytes of the file are read."""
        return 0 if self.size is None else self._raw.tell()

    def lines(self) -> Iterator[tuple[bytes, bool]]:
        """Yield every line and whether it is whole; one above `LINE_BYTES_MAX` is cut.

        Raises:
            SourceError: the file ends in the middle, or its packing is damaged.
        """
        readline = self._lines.readline
        try:
            while line := readline(LINE_BYTES_MAX):
                if len(line) < LINE_BYTES_MAX or line.endswith(b"\n"):
                    yield line, True
                    continue
                yield line, False
                while (rest := readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                    pass
        except _READ_ERRORS as error:
            raise SourceError(f"{self._path} is damaged or ends in the middle: {error}") from error

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._path != STDIN:
            self._raw.close()


def _stdin() -> io.BufferedReader:
    return cast("io.BufferedReader", sys.stdin.buffer)  # typed as what a replaced stdin might be


def refuse_same(sources: Sequence[Source]) -> None:
    """Refuse two files of which one is a copy of the other, packed perhaps.

    Raises:
        SourceError: naming them.
    """
    seen: dict[bytes, str] = {}
    for source in sources:
        if source.head and source.head in seen:
            raise SourceError(
                f"{seen[source.head]} and {source.name} begin with the same lines: give one of the two"
            )
        seen[source.head] = source.name


def _detect(head: bytes) -> Format:
    text = head.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("#") or _W3C_LINE.match(text):
        return Format.W3C
    if _DAY.match(text) or _HEADING.match(text):
        return Format.CSV
    return Format.NCSA
