"""What is served is what was written: the minified file belongs to its source, and the types hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import widget

FOLDER = Path(widget.__file__).parent


def run(*arguments: str, directory: Path = FOLDER) -> None:
    done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_minified_script_is_made_from_its_source(tmp_path: Path) -> None:
    """`make widget` would change nothing; else somebody forgot it."""
    made = tmp_path / "made.js"
    run("npm", "run", "--silent", "build", "--", "--output", str(made))
    assert made.read_bytes() == widget.script(), "run `make widget` and commit visit-counter.min.js"


def test_the_scripts_types_hold() -> None:
    """The JSDoc types of the scripts are checked by TypeScript, strictly."""
    run("npm", "run", "--silent", "check")


def test_the_charts_library_is_npms_own() -> None:
    """What lies in `vendor` is, byte for byte, what the pinned npm package has, with its licence."""
    package = FOLDER / "node_modules" / "uplot"
    for ours, theirs in (
        ("uplot.js", "dist/uPlot.iife.min.js"),
        ("uplot.css", "dist/uPlot.min.css"),
        ("uplot.LICENSE", "LICENSE"),
    ):
        found = (FOLDER / "vendor" / ours).read_bytes()
        assert found == (package / theirs).read_bytes(), f"{ours}: npm run vendor"
