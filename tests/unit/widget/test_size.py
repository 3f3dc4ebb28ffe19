"""What is served is small, and nothing but the one file."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import widget

SIZE_MAX_BYTES = 3 * 1024
"""DESIGN 4.5: at most 3 KB gzipped."""


def test_the_served_script_is_small() -> None:
    """The script has at most 3 KB gzipped; the figure is printed."""
    size_bytes = len(gzip.compress(widget.script(), 9))
    print(f"widget: {size_bytes} of {SIZE_MAX_BYTES} bytes gzipped")
    assert size_bytes <= SIZE_MAX_BYTES, f"{size_bytes} bytes gzipped"


def test_old_browsers_parse_it() -> None:
    """No syntax younger than Chrome 66, Firefox 63 and Safari 12.1, and no HTML from strings."""
    code = widget.script().decode()
    for young in (r"\?\.[a-z(\[]", r"\?\?", r"\|\|=", r"\bstatic \w+=", "`"):
        assert re.search(young, code) is None, young
    for forbidden in ("innerHTML", "insertAdjacentHTML", "document.write", "eval", "cookie"):
        assert forbidden not in code


def test_the_manifest_names_every_attribute() -> None:
    """What the custom-elements manifest lists is what the script reads, and nothing is missing."""
    manifest = json.loads((Path(widget.__file__).parent / "custom-elements.json").read_text())
    [declaration] = manifest["modules"][0]["declarations"]
    listed = {attribute["name"] for attribute in declaration["attributes"]}
    source = (Path(widget.__file__).parent / "visit-counter.js").read_text(encoding="utf-8")
    read = set(re.findall(r'attr\(el, "(\w+)"\)', source)) | {"metric", "windows", "announce"}
    assert listed == read


def test_demo_pages() -> None:
    """The demo has its pages under clean paths, its assets, and nothing else."""
    for path in ("/", "/tin-tuc/bai-1", "/demo.css", "/demo.js"):
        assert widget.demo_page(path) is not None, path
    for path in ("/tin-tuc", "/../__init__.py", "/tin-tuc/../index.html", "/khong-co"):
        assert widget.demo_page(path) is None, path


def test_demo_is_ours_alone() -> None:
    """No demo page asks a third party or carries a figure of the reference case."""
    for path in ("/", "/tin-tuc/bai-1", "/demo.css", "/demo.js"):
        page = widget.demo_page(path)
        assert page is not None
        text = page[0].decode()
        assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE), path
        for figure in ("155351", "155277", "87424", "21559", "1134"):
            assert figure not in text, (path, figure)
