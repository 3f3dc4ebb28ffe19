"""The routes that serve files: the widget's script and the styles of our pages."""

from __future__ import annotations

from fastapi import Request, Response

import widget
from services.api.answer import conditional
from services.api.reading import tag_of
from services.runtime.problem import ProblemError

SCRIPT_TYPE = "text/javascript; charset=utf-8"
CHANGEABLE = "public, max-age=3600, stale-while-revalidate=86400"


async def widget_script(request: Request) -> Response:
    """Return the widget's script; compatible for ever under this path."""
    return _script(request, widget.script(), CHANGEABLE)


async def versioned_widget(request: Request, version: str) -> Response:
    """Return the script of this very version."""
    if version != widget.VERSION:
        raise ProblemError("not_found", f"this server has version {widget.VERSION}", status=404)
    return _script(request, widget.script(), "public, max-age=31536000, immutable")


async def widget_tools(request: Request) -> Response:
    """Return what the webmaster's `#visit-counter-debug` and `#visit-counter-skip` load."""
    return _script(request, widget.tools(), CHANGEABLE)


async def page_style(request: Request, name: widget.Style) -> Response:
    """Return the styles of the frame or of a site's pages."""
    style = widget.style(name)
    return conditional(
        request,
        style,
        "text/css; charset=utf-8",
        tag_of(style.decode()),
        **{"Cache-Control": CHANGEABLE},
    )


async def page_script(request: Request, name: widget.PageScript) -> Response:
    """Return a script of a site's pages."""
    return _script(request, widget.page_script(name), CHANGEABLE)


def _script(request: Request, script: bytes, cache: str) -> Response:
    headers = {"Cache-Control": cache, "Cross-Origin-Resource-Policy": "cross-origin"}
    return conditional(request, script, SCRIPT_TYPE, tag_of(script.decode()), **headers)
