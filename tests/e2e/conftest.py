"""Fixtures of the tests in a browser."""

from __future__ import annotations

from tests.support.widget_page import portal, up

__all__ = ["portal", "up"]
