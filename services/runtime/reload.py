"""Live reload of the sites: a process looks at the files every half second and swaps the whole table when they have changed.

Looked at by stamp instead of being told by the kernel: that works on every mount, network and container ones too, where
notifications do not arrive, and costs 0.4 % of a core at 600 files. A change is taken when two looks agree on it, so that a file that
is just being written is not read by half, and one that is replaced by removing and creating it is never taken for gone.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.runtime.health import Health
from services.runtime.metrics import gauge
from services.runtime.settings import Configuration, Settings, read_settings
from services.runtime.site import Site
from services.runtime.site_source import Declared, Fault, Stamp, stamp_of
from visits.errors import SettingsError

LOOK_SECONDS = 0.5
"""How often the files are looked at; a change is live after two looks and the reading: about a second."""

FAULTS_SHOWN_MAX = 5
"""How many faults `/readyz?verbose` shows; the log has every one."""

NOTE = "sites"
RESTART_NOTE = "configuration"

log = structlog.get_logger()

Stamps = dict[str, Stamp | None]


class ReloadPart:
    """Keeps `configuration.sites` as the files say."""

    def __init__(
        self, configuration: Configuration, health: Health, registry: CollectorRegistry
    ) -> None:
        """Watch the file of `configuration`, and its `sites_dir`."""
        self._configuration = configuration
        self._source = configuration.source
        self._health = health
        self._faults: tuple[Fault, ...] = ()
        self._error = ""
        # Nothing is taken yet: what has changed since the configuration was read shows at the second look.
        self._taken: Stamps | str = ""
        self._last: Stamps | str = ""
        gauge(registry, "visit_counter_sites", "Sites that are declared").set_function(
            lambda: len(configuration.sites)
        )
        self._fault_count = gauge(
            registry,
            "visit_counter_site_faults",
            "Declarations of sites that cannot be used; each of these sites stays what it was",
        )
        self._info = gauge(
            registry, "visit_counter_config_info", "Which configuration is live", ["hash"]
        )
        self._hash = ""
        self._task: asyncio.Task[None] | None = None

    def install(self, app: FastAPI) -> None:
        """Add nothing: there is no route to it."""

    async def start(self) -> None:
        """Say what cannot be used from the start, then begin to look."""
        self._tell(self._configuration.declared)
        self._tell_hash(hash_of(self._configuration.settings, self._configuration.declared))
        if self._configuration.file is not None:
            self._task = asyncio.create_task(self._run(), name="reload")

    async def drain(self) -> None:
        """Nothing is under way for long."""

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("the files of the sites cannot be looked at")

    async def look(self) -> None:
        """Look at the files once; take what has changed if the look before saw the same."""
        seen = await asyncio.to_thread(self._look)
        is_settled, self._last = seen == self._last, seen
        if not is_settled or seen == self._taken:
            return
        self._taken = seen
        try:
            settings, declared, digest = await asyncio.to_thread(self._read)
        except SettingsError as error:
            self._refuse(str(error))
            return
        self._error = ""
        self._swap(declared)
        self._tell(declared)
        self._tell_restart(settings)
        self._tell_hash(digest)

    def _look(self) -> Stamps | str:
        """Return the stamps of all files, or why the folder cannot be read."""
        file = self._configuration.file
        found: Stamps = {} if file is None else {str(file): stamp_of(file)}
        try:
            return found | self._source.look()
        except SettingsError as error:
            return str(error)

    def _read(self) -> tuple[Settings, Declared, str]:
        file = self._configuration.file
        settings, text = read_settings(file, self._configuration.overrides)
        declared = self._source.declare(settings.sites, settings.defaults, text, str(file))
        return settings, declared, hash_of(settings, declared)

    def _refuse(self, reason: str) -> None:
        """Leave everything as it is: the configuration itself, or the folder of the sites, cannot be read."""
        self._error = reason
        self._fault_count.set(len(self._faults) + 1)
        self._note()
        log.error("the configuration cannot be used; all sites stay what they were", reason=reason)

    def _swap(self, declared: Declared) -> None:
        """Make the sites those that are declared, all at once."""
        table = self._configuration.sites
        before: dict[str, Site] = {name: table[name] for name in table}
        table.replace(declared.sites)
        added = sorted(declared.sites.keys() - before.keys())
        removed = sorted(before.keys() - declared.sites.keys())
        changed = sorted(
            name
            for name in declared.sites.keys() & before.keys()
            if declared.sites[name] is not before[name]
        )
        if added or removed or changed:
            log.info(
                "the sites were read again",
                sites=len(declared.sites),
                added=_some(added),
                removed=_some(removed),
                changed=_some(changed),
            )

    def _tell(self, declared: Declared) -> None:
        """Show what cannot be used, and what can again."""
        known = {fault.reason for fault in self._faults}
        for fault in declared.faults:
            if fault.reason not in known:
                stays = fault.site in declared.sites
                kept = "the site stays what it was" if stays else "the site is not served"
                log.error("a site cannot be used as declared", site=fault.site, reason=fault.reason, kept=kept)  # fmt: skip
        at_fault = {fault.site for fault in declared.faults}
        for site in sorted({fault.site for fault in self._faults} - at_fault):
            log.info("a site can be used again as declared", site=site)
        self._faults = declared.faults
        self._fault_count.set(len(self._faults))
        self._note()

    def _note(self) -> None:
        reasons = [self._error] if self._error else []
        reasons += [fault.reason for fault in self._faults]
        if not reasons:
            self._health.notes.pop(NOTE, None)
            return
        more = len(reasons) - FAULTS_SHOWN_MAX
        shown = "; ".join(reason.replace("\n", "; ") for reason in reasons[:FAULTS_SHOWN_MAX])
        self._health.notes[NOTE] = f"not usable as declared, what was before stays: {shown}" + (
            f"; and {more} more" if more > 0 else ""
        )

    def _tell_restart(self, settings: Settings) -> None:
        """Say which other settings have changed: they are taken at the next start."""
        before, now = _fixed(self._configuration.settings), _fixed(settings)
        changed = sorted(key for key in now if now[key] != before[key])
        if not changed:
            self._health.notes.pop(RESTART_NOTE, None)
            return
        told = f"{', '.join(changed)} changed in the file: needs a restart"
        if self._health.notes.get(RESTART_NOTE) != told:
            log.warning("a changed setting needs a restart", settings=changed)
        self._health.notes[RESTART_NOTE] = told

    def _tell_hash(self, digest: str) -> None:
        """Show which configuration is live."""
        if digest != self._hash:
            if self._hash:
                self._info.remove(self._hash)
            self._hash = digest
            self._info.labels(digest).set(1)


def hash_of(settings: Settings, declared: Declared) -> str:
    """Return what is alike in all processes that have the same configuration, and tells nothing of it."""
    digest = blake2b(settings.model_dump_json(exclude={"sites"}).encode(), digest_size=8)
    for name, site in sorted(declared.sites.items()):
        digest.update(f"{name}\x00{site.settings.model_dump_json()}\x00".encode())
    return digest.hexdigest()


def _fixed(settings: Settings) -> dict[str, object]:
    """Return the settings that are read once, by `section.key`."""
    found: dict[str, object] = {}
    for section, values in settings.model_dump(exclude={"sites", "defaults"}).items():
        if isinstance(values, dict):
            found |= {f"{section}.{key}": value for key, value in values.items()}
        else:
            found[section] = values
    return found


def _some(names: list[str]) -> list[str]:
    """Return names for a log line, which is bounded."""
    return names if len(names) <= 10 else [*names[:10], f"and {len(names) - 10} more"]  # noqa: PLR2004  # what a line holds
