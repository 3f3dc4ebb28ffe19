"""HTML and SVG from templates, every value escaped (OWASP, "Cross Site Scripting Prevention": output encoding)."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_environment = Environment(
    loader=PackageLoader("services.api"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

HTML_TYPE = "text/html; charset=utf-8"
SVG_TYPE = "image/svg+xml"


def render(name: str, **values: Any) -> bytes:
    """Return a template of `services/api/templates/` filled with values."""
    return _environment.get_template(name).render(**values).encode()
