"""What is served is what was written: the minified file belongs to its source, and the types hold."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import widget

FOLDER = Path(widget.__file__).parent


def run(*arguments: str) -> str:
    done = subprocess.run(arguments, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


def test_the_oldest_browsers_parse_the_scripts() -> None:
    """What is served is ECMAScript 2019, which Chrome 66, Firefox 63 and Safari 12.1 read (docs/widget.md)."""
    for name in ("visit-counter.min.js", "tools.js"):
        parse = "require('acorn').parse(require('fs').readFileSync(process.argv[1], 'utf8'), {ecmaVersion: 2019})"
        run("node", "--eval", parse, name)


def test_the_package_is_ready_to_publish() -> None:
    """It holds the script in both forms, tools, types, manifest, licence and a way to the manual, and nothing else."""
    [package] = json.loads(run("npm", "pack", "--dry-run", "--json", "--silent"))
    assert {file["path"] for file in package["files"]} == {
        *("visit-counter.js", "visit-counter.min.js", "tools.js"),
        *("visit-counter.d.ts", "custom-elements.json", "package.json", "LICENSE", "README.md"),
    }
    assert package["version"] == widget.VERSION
