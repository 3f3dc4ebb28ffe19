"""TOML files as people write them: read with the file and line of a mistake, changed with their comments kept."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from visits.errors import SettingsError

_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]")
SECRET_KEYS = frozenset({"tokens"})
"""Keys whose values are never shown: somebody may have written a token where its hash belongs."""


def read_toml(file: Path) -> tuple[dict[str, Any], str]:
    """Return a file's values and its text.

    Raises:
        SettingsError: it cannot be read; names file and line.
    """
    try:
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except FileNotFoundError as error:
        msg = f"{file}: no such file; `visit-counter init` writes one"
        raise SettingsError(msg) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{file}: {error}"
        raise SettingsError(msg) from error


def explain(error: ValidationError, origin: str, text: str = "", table: str = "") -> str:
    """Turn pydantic's findings into lines of place, key, value and mend.

    Args:
        error: what was found.
        origin: the file, as people know it.
        text: the file's text, to name the line.
        table: the table that was looked at, e.g. `sites.demo`.
    """
    lines = []
    for found in error.errors():
        path = [str(part) for part in found["loc"]]
        number = _line_of(text, path, table)
        place = f"{origin}, line {number}" if number else origin
        key = ".".join(filter(None, [table, *path]))
        if found["type"] == "extra_forbidden":
            lines.append(f"{place}: {key}: no such key; check its spelling or take it out")
            continue
        told = found["msg"].removeprefix("Value error, ")
        value = "" if SECRET_KEYS.intersection(path) else f" = {found['input']!r}"
        lines.append(f"{place}: {key}{value}: {told}")
    return "\n".join(lines)


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all, so that who watches it never reads half of it."""
    target = file.resolve()
    beside = target.with_name(f".{target.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)  # noqa: PTH105  # Path.replace is the same
    except OSError:
        # A single file mounted into a container cannot be replaced, only written.
        beside.unlink(missing_ok=True)
        target.write_text(text, encoding="utf-8")


def _line_of(text: str, path: list[str], table: str) -> int | None:
    """Return the line on which a key stands, `None` where it cannot be told."""
    wanted = [part for part in table.split(".") if part] + path
    current: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            current = [part.strip(" \"'") for part in header[1].split(".")]
            continue
        name = line.partition("=")[0].strip(" \"'")
        if name and [*current, name] == wanted[: len(current) + 1] and len(wanted) > len(current):
            return number
    return None
