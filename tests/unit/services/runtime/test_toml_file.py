"""TOML files: the line of a mistake, and writing whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.runtime.site import SiteSettings
from services.runtime.toml_file import explain, read_toml, write_text
from visits.errors import SettingsError

TEXT = """\
# timezone = "in a comment"
[defaults]
timezone = "Asia/Ho_Chi_Minh"

[sites.other]
timezone = "Asia/Tokyo"
[sites."demo"]  # the one
name = "Demo"
"timezone" = "Asia/Hanoi"
tokens = ["a-secret-token"]
typo = 1
"""


def found(values: dict[str, object], **place: str) -> str:
    with pytest.raises(ValidationError) as error:
        SiteSettings(**values)
    return explain(error.value, "c.toml", **place)


def test_a_mistake_is_told_with_its_line() -> None:
    """File, line, key, value and mend, one a line; within the table that was looked at."""
    values = {"timezone": "Asia/Hanoi", "tokens": ["a-secret-token"], "typo": 1}
    told = found(values, text=TEXT, table="sites.demo").splitlines()
    assert told[0].startswith("c.toml, line 9: sites.demo.timezone = 'Asia/Hanoi': ")
    assert "Asia/Ho_Chi_Minh" in told[0]
    assert told[1].startswith("c.toml, line 10: sites.demo.tokens: ")
    assert told[2] == "c.toml, line 11: sites.demo.typo: no such key; check its spelling or take it out"  # fmt: skip


def test_a_token_is_never_shown() -> None:
    """Who writes a token where its hash belongs does not find it in the log."""
    assert "a-secret-token" not in found({"tokens": ["a-secret-token"]}, text=TEXT)


def test_a_file_of_its_own_and_no_text_at_all() -> None:
    """Keys at the top are found, too; without the text the line is left out."""
    assert found({"lang": "de"}, text='\n\nlang = "de"\n').startswith("c.toml, line 3: lang = 'de'")
    assert found({"lang": "de"}).startswith("c.toml: lang = 'de'")


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    """As the parser says it."""
    file = tmp_path / "a.toml"
    for raw, told in ((b'a = 1\nb = "x\n', "line 2"), (b"\xff", "utf-8"), (None, "no such file")):
        if raw is None:
            file.unlink()
        else:
            file.write_bytes(raw)
        with pytest.raises(SettingsError, match=told):
            read_toml(file)


def test_writing_keeps_mode_and_link_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """A file is replaced where it really is."""
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a.toml", tmp_path / "a.toml"
    real.write_text("old", encoding="utf-8")
    real.chmod(0o640)
    link.symlink_to(real)
    inode = real.stat().st_ino
    write_text(link, "new")
    assert real.read_text(encoding="utf-8") == "new"
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.stat().st_ino != inode, "replaced as a whole"
    assert [path.name for path in real.parent.iterdir()] == ["a.toml"]
