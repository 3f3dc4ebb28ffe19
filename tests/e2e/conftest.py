"""Fixtures of the tests in a browser."""

from __future__ import annotations

from tests.support.widget_page import chromium, portal, unused_sites, up

__all__ = ["chromium", "portal", "unused_sites", "up"]
