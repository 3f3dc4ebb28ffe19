"""The browser side: one script, its types, and the demo portal. Files only; the api serves them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

VERSION = "1.0.0"
"""Version of the script, in the path of its immutable address."""

Style = Literal["embed", "site", "uplot"]
PageScript = Literal["site", "install", "uplot"]

_VENDORED = frozenset({"uplot"})
"""What is not ours; `npm run vendor` brings it from npm, with its licence."""

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@cache
def script() -> bytes:
    """Return the widget's script as it is served: `visit-counter.js` minified by `make widget`."""
    return (files(__name__) / "visit-counter.min.js").read_bytes()


@cache
def tools() -> bytes:
    """Return what the script loads for a webmaster who looks into it."""
    return (files(__name__) / "tools.js").read_bytes()


@cache
def style(name: Style) -> bytes:
    """Return the style sheet of the frame, of a site's pages, or of their charts."""
    return _file(name, "css")


@cache
def page_script(name: PageScript) -> bytes:
    """Return a script of a site's pages, or the charts' library."""
    return _file(name, "js")


def _file(name: str, kind: str) -> bytes:
    folder = files(__name__) / "vendor" if name in _VENDORED else files(__name__)
    return (folder / f"{name}.{kind}").read_bytes()


@cache
def _demo_files() -> dict[str, str]:
    """Return path as the browser asks for it → file within the demo's folder."""
    found: dict[str, str] = {}
    demo = files(__name__) / "demo"
    for folder, prefix in ((demo, ""), (demo / "tin-tuc", "tin-tuc/")):
        if not folder.is_dir():
            continue
        for entry in folder.iterdir():
            name, _, ending = entry.name.rpartition(".")
            if ending not in _TYPES:
                continue
            found[f"/{prefix}{entry.name}"] = f"{prefix}{entry.name}"
            if ending == "html":
                found["/" if name == "index" else f"/{prefix}{name}"] = f"{prefix}{entry.name}"
    return found


def demo_page(path: str) -> tuple[bytes, str] | None:
    """Return a page of the demo portal and its content type; `None` for a path it does not have."""
    name = _demo_files().get(path)
    if name is None:
        return None
    content = (files(__name__) / "demo").joinpath(*name.split("/")).read_bytes()
    return content, _TYPES[name.rpartition(".")[2]]
