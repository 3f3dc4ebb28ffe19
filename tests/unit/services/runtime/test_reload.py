"""Live reload: what changes takes effect after two looks, one site's mistake is that site's, nothing else moves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.runtime.health import Health
from services.runtime.reload import FAULTS_SHOWN_MAX, ReloadPart
from services.runtime.settings import Configuration, load_configuration
from visits.errors import SettingsError

HASH = "sha256:" + "0" * 64


class Watched:
    """A configuration with a folder of sites, and what watches it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = folder / "visit-counter.toml"
        self.sites = folder / "sites.d"
        self.sites.mkdir()
        self.write_main('[sites.main]\nname = "Main"\n')
        self.write("a", 'name = "A"\n')
        self.write("b", 'name = "B"\n')
        self.health, self.registry = Health(), CollectorRegistry()
        self.configuration: Configuration
        self.part: ReloadPart

    async def start(self) -> None:
        self.configuration = load_configuration(self.main, year=2026)
        self.part = ReloadPart(self.configuration, self.health, self.registry)
        await self.part.start()
        await self.part.close()  # looked at by hand from here
        await self.look_twice()

    def write_main(self, text: str) -> None:
        self.main.write_text(f'sites_dir = "sites.d"\n{text}', encoding="utf-8")

    def write(self, site: str, text: str) -> None:
        (self.sites / f"{site}.toml").write_text(text, encoding="utf-8")

    async def look_twice(self) -> None:
        await self.part.look()
        await self.part.look()

    @property
    def names(self) -> dict[str, str]:
        table = self.configuration.sites
        return {site: table[site].settings.name for site in table}

    @property
    def faults(self) -> float:
        value = self.registry.get_sample_value("visit_counter_site_faults")
        assert value is not None
        return value

    @property
    def hashes(self) -> list[str]:
        return [
            sample.labels["hash"]
            for family in self.registry.collect()
            if family.name == "visit_counter_config_info"
            for sample in family.samples
        ]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


ALL = {"main": "Main", "a": "A", "b": "B"}


async def test_a_change_is_live_after_two_looks_that_agree(watched: Watched) -> None:
    """A file that is still being written is not read by half."""
    await watched.start()
    watched.write("a", 'name = "An')
    await watched.part.look()
    watched.write("a", 'name = "Another"\n')
    await watched.part.look()
    assert watched.names == ALL
    assert watched.faults == 0
    await watched.part.look()
    assert watched.names == ALL | {"a": "Another"}


async def test_only_what_changed_is_made_anew(watched: Watched) -> None:
    """A site whose file is as it was stays the same object; the table stays the same for who holds it."""
    await watched.start()
    table, a, b = (
        watched.configuration.sites,
        watched.configuration.sites["a"],
        watched.configuration.sites["b"],
    )
    watched.write("b", 'name = "B2"\n')
    await watched.look_twice()
    assert table["a"] is a
    assert table["b"] is not b
    assert b.settings.name == "B", "who holds a site keeps what it was"


async def test_nothing_is_read_while_nothing_changes(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking is all that 600 files cost."""
    await watched.start()
    monkeypatch.setattr(watched.part, "_read", None)  # would fail
    await watched.look_twice()
    await watched.look_twice()


async def test_new_sites_come_and_removed_ones_go(watched: Watched) -> None:
    """A file added is a site more; a file gone at two looks is a site less, one that is replaced is not."""
    await watched.start()
    watched.write("c", 'name = "C"\n')
    (watched.sites / "a.toml").unlink()
    await watched.part.look()
    assert watched.names == ALL
    await watched.part.look()
    assert watched.names == {"main": "Main", "b": "B", "c": "C"}
    (watched.sites / "b.toml").unlink()
    await watched.part.look()
    watched.write("b", 'name = "B"\n')
    await watched.look_twice()
    assert "b" in watched.names


async def test_the_table_and_its_tokens_change_together(watched: Watched) -> None:
    """A token revoked opens nothing any more."""
    watched.write("a", f'name = "A"\ntokens = ["{HASH}"]\n')
    await watched.start()
    assert [site.id for site in watched.configuration.sites.opened_by(HASH)] == ["a"]
    watched.write("a", 'name = "A"\ntokens = []\n')
    await watched.look_twice()
    assert watched.configuration.sites.opened_by(HASH) == ()


BAD = {
    'name = "A\n': "line 1",
    'name = "A"\ntimezone = "Asia/Hanoi"\n': "line 2: timezone = 'Asia/Hanoi'",
    'name = "A"\nfarbe = "rot"\n': "line 2: farbe: no such key",
    'origins = ["portal.example"]\n': "line 1",
    'timezone = "Asia/Kathmandu"\n': "bucket_minutes = 15",
}


@pytest.mark.parametrize(("text", "told"), BAD.items())
async def test_a_bad_file_changes_nothing_and_is_told(
    watched: Watched, text: str, told: str
) -> None:
    """That site stays what it was, others change; metric, note and one line of the log say file, line and mend."""
    await watched.start()
    with structlog.testing.capture_logs() as logs:
        watched.write("a", text)
        watched.write("b", 'name = "B2"\n')
        await watched.look_twice()
        watched.write("b", 'name = "B3"\n')
        await watched.look_twice()
    assert watched.names == ALL | {"b": "B3"}
    assert watched.faults == 1
    note = watched.health.notes["sites"]
    assert "a.toml" in note
    assert told in note
    errors = [line for line in logs if line["log_level"] == "error"]
    assert len(errors) == 1
    assert told in errors[0]["reason"]
    assert errors[0]["kept"] == "the site stays what it was"
    watched.write("a", 'name = "A2"\n')
    await watched.look_twice()
    assert watched.names == ALL | {"a": "A2", "b": "B3"}
    assert watched.faults == 0
    assert "sites" not in watched.health.notes


async def test_a_file_that_is_bad_from_the_start(watched: Watched) -> None:
    """One bad file of many stops no start: that site is not served, the rest is, and people are told."""
    watched.write("a", "name = 5\n")
    await watched.start()
    assert watched.names == {"main": "Main", "b": "B"}
    assert watched.faults == 1
    assert "a.toml" in watched.health.notes["sites"]
    watched.write("a", 'name = "A"\n')
    await watched.look_twice()
    assert watched.names == ALL


async def test_a_site_declared_twice(watched: Watched) -> None:
    """The configuration's own declaration stands; the file is at fault."""
    await watched.start()
    watched.write("main", 'name = "Second"\n')
    await watched.look_twice()
    assert watched.names == ALL
    assert "declared twice" in watched.health.notes["sites"]


async def test_many_faults_make_no_endless_note(watched: Watched) -> None:
    """The note names some and counts the rest."""
    await watched.start()
    for number in range(50):
        watched.write(f"bad-{number:02d}", "name = 5\n")
    await watched.look_twice()
    assert watched.faults == 50
    assert watched.health.notes["sites"].count("bad-") == FAULTS_SHOWN_MAX
    assert watched.health.notes["sites"].endswith("and 45 more")


async def test_sites_of_the_configuration_itself(watched: Watched) -> None:
    """They are taken like files of their own, each by itself; defaults reach all sites."""
    await watched.start()
    watched.write_main(
        '[defaults]\nlang = "en"\n[sites.main]\nname = "M2"\n[sites.bad]\nlang = 5\n'
    )
    await watched.look_twice()
    assert watched.names == ALL | {"main": "M2"}
    assert {watched.configuration.sites[name].settings.lang for name in ALL} == {"en"}
    assert "line 7: sites.bad.lang" in watched.health.notes["sites"]
    watched.write_main('[sites.other]\nname = "Other"\n')
    await watched.look_twice()
    assert watched.names == {"other": "Other", "a": "A", "b": "B"}
    assert {watched.configuration.sites[name].settings.lang for name in ("a", "b")} == {"vi"}


@pytest.mark.parametrize(
    "text", ["[sites.main\n", "[server]\nbogus = 1\n", "[defaults]\nlang = 5\n"]
)
async def test_a_configuration_that_cannot_be_read_leaves_all_as_it_is(
    watched: Watched, text: str
) -> None:
    """Nothing is dropped for a mistake, or for a file or folder that is gone for a while."""
    await watched.start()
    watched.write_main(text)
    await watched.look_twice()
    assert watched.names == ALL
    assert watched.faults == 1
    assert "visit-counter.toml" in watched.health.notes["sites"]
    watched.main.unlink()
    await watched.look_twice()
    assert watched.names == ALL
    watched.write_main('[sites.main]\nname = "Main"\n')
    await watched.look_twice()
    assert watched.faults == 0
    watched.sites.rename(watched.folder / "away")
    await watched.look_twice()
    assert watched.names == ALL
    assert "sites_dir" in watched.health.notes["sites"]
    (watched.folder / "away").rename(watched.sites)
    await watched.look_twice()
    assert watched.names == ALL
    assert "sites" not in watched.health.notes


async def test_other_settings_need_a_restart(watched: Watched) -> None:
    """They are named, sites change all the same; set back, the note goes."""
    await watched.start()
    with structlog.testing.capture_logs() as logs:
        watched.write_main('[server]\nmax_streams = 5\n[sites.main]\nname = "M2"\n')
        await watched.look_twice()
    assert watched.names == ALL | {"main": "M2"}
    assert watched.configuration.settings.server.max_streams == 10_000
    assert "server.max_streams" in watched.health.notes["configuration"]
    assert [line["settings"] for line in logs if line["log_level"] == "warning"] == [
        ["server.max_streams"]
    ]
    watched.write_main('[sites.main]\nname = "M2"\n')
    await watched.look_twice()
    assert "configuration" not in watched.health.notes


async def test_the_hash_tells_which_configuration_is_live(watched: Watched) -> None:
    """One series, another label after a change, the same after it was taken back."""
    await watched.start()
    (before,) = watched.hashes
    watched.write("a", 'name = "A2"\n')
    await watched.look_twice()
    (after,) = watched.hashes
    assert after != before
    watched.write("a", 'name = "A"\n')
    await watched.look_twice()
    assert watched.hashes == [before]


async def test_what_changed_before_the_first_look_is_seen(watched: Watched) -> None:
    """Between reading the configuration and looking at it a service may wait long for its log."""
    configuration = load_configuration(watched.main, year=2026)
    watched.write("late", 'name = "Late"\n')
    part = ReloadPart(configuration, watched.health, watched.registry)
    await part.look()
    await part.look()
    assert "late" in configuration.sites


async def test_hidden_and_other_files_are_none(watched: Watched) -> None:
    """What editors and mounts leave in a folder is no site."""
    for name in (".a.toml", "a.toml~", "a.toml.new", "README.md", "..data"):
        (watched.sites / name).write_text("nonsense", encoding="utf-8")
    (watched.sites / "gone.toml").symlink_to(watched.sites / "nowhere")
    (watched.sites / "folder.toml").mkdir()
    await watched.start()
    assert watched.names == ALL
    assert watched.faults == 1, "a folder is no file"


def test_a_missing_folder_stops_the_start(watched: Watched) -> None:
    """It is a slip of the configuration, and said so."""
    watched.sites.rename(watched.folder / "away")
    with pytest.raises(SettingsError, match="sites_dir"):
        load_configuration(watched.main, year=2026)


def test_six_hundred_sites_are_read_and_their_time_is_printed(watched: Watched) -> None:
    """All are there; how long it took is printed, not judged."""
    for number in range(600):
        watched.write(
            f"s{number}", f'name = "S {number}"\norigins = ["https://s{number}.gov.vn"]\n'
        )
    began = time.perf_counter()
    configuration = load_configuration(watched.main, year=2026)
    print(f"{len(configuration.sites)} sites in {time.perf_counter() - began:.3f} s")
    assert len(configuration.sites) == 603
