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


def test_old_browsers_know_what_it_calls() -> None:
    """Nothing is called that is younger than Chrome 66, Firefox 63 and Safari 12.1, and no HTML is made from strings."""
    code = widget.script().decode()
    for young in (
        "globalThis",
        r"\.flat\(",
        r"\.at\(",
        r"\.replaceAll\(",
        "fromEntries",
        "allSettled",
    ):
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
