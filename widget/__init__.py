"""The browser side: one script, its types, and what the demo portal is made of. Files only; the api serves them."""

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
def demo_file(name: str) -> bytes:
    """Return one of the files that the demo portal is made of."""
    return (files(__name__) / "demo" / name).read_bytes()
