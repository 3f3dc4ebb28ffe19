"""The commands that change declarations: in the right file, comments kept, taken back when they cannot be used."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.cli.option import configuration
from visits.errors import SettingsError

MAIN = """\
# the main file
sites_dir = "sites.d"
[sites.main]
name = "Main"  # kept
"""
OWN = """\
# a file of its own
name = "Own"
tokens = []  # for the archive's server
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "sites.d").mkdir()
    (tmp_path / "sites.d" / "own.toml").write_text(OWN, encoding="utf-8")
    path = tmp_path / "visit-counter.toml"
    path.write_text(MAIN, encoding="utf-8")
    return path


def run(config: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--config", str(config)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def tokens(config: Path, site: str) -> tuple[str, ...]:
    return configuration(config).sites[site].settings.tokens


@pytest.mark.parametrize("site", ["main", "own"])
def test_a_token_is_made_and_revoked_where_the_site_is_declared(config: Path, site: str) -> None:
    """The token itself stands in no file; comments stay; the other file is not touched."""
    own = config.parent / "sites.d" / "own.toml"
    first, second = (run(config, "token", "new", "--site", site).strip() for _ in range(2))
    kept = ["sha256:" + sha256(token.encode()).hexdigest() for token in (first, second)]
    assert tokens(config, site) == tuple(kept)
    for file in (config, own):
        text = file.read_text(encoding="utf-8")
        assert first not in text
        assert ("sha256:" in text) == ((file == own) == (site == "own"))
    assert '"Main"  # kept' in config.read_text(encoding="utf-8")
    assert "# for the archive's server" in own.read_text(encoding="utf-8")
    assert "revoked 1 of 2" in run(config, "token", "revoke", "--site", site, "--prefix", kept[0])
    assert tokens(config, site) == (kept[1],)
    assert "revoked 1 of 1" in run(config, "token", "revoke", "--site", site)
    assert tokens(config, site) == ()


def test_tokens_of_all_sites_stay_beside_a_new_one(config: Path) -> None:
    """A site's own token does not take away the ones of [defaults]."""
    common = "sha256:" + "0" * 64
    config.write_text(MAIN + f'[defaults]\ntokens = ["{common}"]\n', encoding="utf-8")
    run(config, "token", "new", "--site", "main")
    assert common in tokens(config, "main")
    assert len(tokens(config, "main")) == 2


def test_revoking_what_is_not_there_is_told(config: Path) -> None:
    """A mistyped prefix revokes nothing, and says so."""
    run(config, "token", "new", "--site", "own")
    with pytest.raises(SettingsError, match="no token of own begins with"):
        run(config, "token", "revoke", "--site", "own", "--prefix", "sha256:zz")
    assert len(tokens(config, "own")) == 1


def test_a_site_of_its_own_file_is_closed_there(config: Path) -> None:
    """It is read as before, and counts no more."""
    run(config, "site", "close", "own")
    assert configuration(config).sites["own"].settings.closed
    assert "closed" in (config.parent / "sites.d" / "own.toml").read_text(encoding="utf-8")
    assert "closed" not in config.read_text(encoding="utf-8")


def test_a_site_declared_in_a_file_is_not_added_twice(config: Path) -> None:
    """Also where the first declaration is a file of its own."""
    with pytest.raises(SettingsError, match="declared already"):
        run(config, "site", "add", "own")


def test_check_tells_of_every_bad_file(config: Path) -> None:
    """One bad file stops no service, so `check` is where it shows before."""
    (config.parent / "sites.d" / "bad.toml").write_text("lang = 5\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"bad.toml, line 1: lang = 5"):
        run(config, "check")
    with pytest.raises(SettingsError, match=r"bad.toml, line 1: lang = 5"):
        run(config, "token", "new", "--site", "bad")
    run(config, "token", "new", "--site", "own")


def test_what_cannot_be_used_is_taken_back(config: Path) -> None:
    """A change that would stop the start is undone."""
    before = config.read_text(encoding="utf-8")
    with pytest.raises(SettingsError, match="timezone"):
        run(config, "site", "add", "new", "--timezone", "Asia/Hanoi")
    assert config.read_text(encoding="utf-8") == before
