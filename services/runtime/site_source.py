"""Where the sites are declared: `[sites.ID]` of the configuration, and a folder with one file each (DESIGN 4.2).

One site's mistake is that site's: the others are made ready all the same, and what it said before stays. Reading again costs what
has changed: files are told apart by their stamps, and a site whose values are the same stays the same object.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct
from pydantic import ValidationError

from services.runtime.site import Site, SiteSettings, make_site
from services.runtime.toml_file import explain, read_toml
from visits.errors import SettingsError

SITES_TABLE = "sites"


class Stamp(NamedTuple):
    """What tells that a file is another one: time of change, size, inode (a file renamed into place)."""

    mtime_ns: int
    size: int
    inode: int


class Fault(Struct, frozen=True):
    """A declaration that cannot be used.

    Attributes:
        site: the site, as far as it can be told.
        file: where it stands; `None`: in the configuration itself.
        reason: place, key, value and mend.
    """

    site: str
    file: Path | None
    reason: str


class Declared(Struct, frozen=True):
    """What is declared.

    Attributes:
        sites: ready for use.
        files: site → its own file, for those that have one.
        faults: what cannot be used.
    """

    sites: dict[str, Site]
    files: dict[str, Path]
    faults: tuple[Fault, ...]


class _Place(NamedTuple):
    file: Path | None
    origin: str
    text: str
    table: str


class _File(NamedTuple):
    stamp: Stamp | None
    values: dict[str, Any]
    text: str
    error: str


class _Made(NamedTuple):
    values: dict[str, Any]
    site: Site


class SiteSource:
    """Reads the declarations, again and again."""

    def __init__(self, folder: Path | None, bucket_minutes: int, year: int) -> None:
        """Read the files of `folder` (`sites_dir`), if there is one.

        Args:
            folder: of `*.toml`, one a site; hidden ones are not looked at.
            bucket_minutes: the size of a bucket; every zone must fit it.
            year: from which zones are checked.
        """
        self.folder = folder
        self._bucket_minutes = bucket_minutes
        self._year = year
        self._files: dict[Path, _File] = {}
        self._made: dict[str, _Made] = {}

    def look(self) -> dict[str, Stamp]:
        """Return the stamps of the folder's files, by path.

        Raises:
            SettingsError: there is no such folder.
        """
        if self.folder is None:
            return {}
        found: dict[str, Stamp] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".toml") and not entry.name.startswith("."):
                        with suppress(FileNotFoundError):  # gone since
                            found[entry.path] = _stamp(entry.stat())
        except OSError as error:
            msg = (
                f"sites_dir = {str(self.folder)!r}: {error.strerror}; make it or take the line out"
            )
            raise SettingsError(msg) from error
        return found

    def declare(
        self,
        sites: Mapping[str, dict[str, Any]],
        defaults: SiteSettings,
        text: str = "",
        origin: str = "visit-counter.toml",
    ) -> Declared:
        """Make every declared site ready; a faulty one stays what it was at the last call.

        Args:
            sites: site → its values in the configuration itself.
            defaults: values for all sites.
            text: the configuration's text, to name lines.
            origin: its name.

        Raises:
            SettingsError: the folder of the sites' files is gone.
        """
        common = defaults.model_dump(exclude_unset=True)
        faults: list[Fault] = []
        made: dict[str, _Made] = {}
        files: dict[str, Path] = {}
        for name, values in sites.items():
            where = _Place(None, origin, text, f"{SITES_TABLE}.{name}")
            self._make(name, common | values, where, made, faults)
        for path, file in self._read_folder().items():
            name = path.stem
            if name in sites:
                reason = f"{path}: site {name!r} is declared twice; keep one of the two"
                faults.append(Fault(name, path, reason))
                continue
            files[name] = path
            if file.error:
                self._keep(name, Fault(name, path, file.error), made, faults)
            else:
                where = _Place(path, str(path), file.text, "")
                self._make(name, common | file.values, where, made, faults)
        self._made = made
        return Declared({name: one.site for name, one in made.items()}, files, tuple(faults))

    def _make(
        self,
        name: str,
        values: dict[str, Any],
        where: _Place,
        made: dict[str, _Made],
        faults: list[Fault],
    ) -> None:
        last = self._made.get(name)
        if last is not None and last.values == values:
            made[name] = last
            return
        try:
            site = make_site(name, SiteSettings(**values), self._bucket_minutes, self._year)
        except ValidationError as error:
            reason = explain(error, where.origin, where.text, where.table)
        except SettingsError as error:
            reason = f"{where.origin}: {error}"
        else:
            made[name] = _Made(values, site)
            return
        self._keep(name, Fault(name, where.file, reason), made, faults)

    def _keep(self, name: str, fault: Fault, made: dict[str, _Made], faults: list[Fault]) -> None:
        """Note a fault; the site stays what it was, if it was anything."""
        faults.append(fault)
        if name in self._made:
            made[name] = self._made[name]

    def _read_folder(self) -> dict[Path, _File]:
        """Read what has changed."""
        stamps = self.look()
        self._files = {
            path: self._read(path, stamp)
            for path, stamp in sorted((Path(name), stamp) for name, stamp in stamps.items())
        }
        return self._files

    def _read(self, path: Path, stamp: Stamp) -> _File:
        known = self._files.get(path)
        if known is not None and known.stamp == stamp:
            return known
        try:
            values, text = read_toml(path)
        except SettingsError as error:
            return _File(stamp, {}, "", str(error))
        return _File(stamp, values, text, "")


def stamp_of(path: Path) -> Stamp | None:
    """Return a file's stamp, `None` where it is gone."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
