"""The documentation site builds, strictly: a link or an anchor that leads nowhere fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.document import read_document
from tests.support.visit_counter import REPOSITORY

TAKEN_IN = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/RUNBOOK.md")
ZENSICAL = Path(sys.executable).with_name("zensical")


def test_site_builds_strictly(tmp_path: Path) -> None:
    """Every page of docs/ becomes a page of the site, those that only take in a file of the root too."""
    (tmp_path / "deploy").mkdir()
    for name in ("zensical.toml", *TAKEN_IN):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    built = subprocess.run(
        [ZENSICAL, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.relative_to(tmp_path / "docs") for path in (tmp_path / "docs").rglob("*.md")}
    for page in pages:
        folder = page.parent if page.stem in {"index", "README"} else page.with_suffix("")
        assert (tmp_path / "site" / folder / "index.html").is_file(), page
    for name in TAKEN_IN:
        page = tmp_path / "site" / Path(name).stem.lower() / "index.html"
        [_, title] = read_document(REPOSITORY / name).headings[0]
        assert f">{title}</h1>" in page.read_text(encoding="utf-8")


def test_broken_link_fails(tmp_path: Path) -> None:
    """The strict build refuses a page that links to none."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Start\n\n[gone](gone.md)\n", encoding="utf-8")
    (tmp_path / "zensical.toml").write_text('[project]\nsite_name = "x"\n', encoding="utf-8")
    built = subprocess.run(
        [ZENSICAL, "build", "--strict"], cwd=tmp_path, capture_output=True, check=False
    )
    assert built.returncode != 0
