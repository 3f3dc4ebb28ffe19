"""The tables of docs/configuration.md against the settings: every setting is there, none too many, with its default."""

from __future__ import annotations

import tomllib
from typing import Any

from pydantic import BaseModel

from services.runtime.settings import Settings
from services.runtime.site import SiteSettings
from tests.support.document import read_document
from tests.support.visit_counter import REPOSITORY

NONE = "–"


def told() -> dict[str, Any]:
    """Return setting → default, as the tables have them."""
    tables = read_document(REPOSITORY / "docs" / "configuration.md").tables
    rows = [row for table in tables if table[0][0] == "setting" for row in table[1:]]
    return {
        name: None if text == NONE else tomllib.loads(f"x = {text}")["x"] for name, text, _ in rows
    }


def defaults(model: BaseModel, prefix: str) -> dict[str, Any]:
    """Return setting → default, as the program has them."""
    return {f"{prefix}{name}": value for name, value in model.model_dump(mode="json").items()}


def test_tables_have_every_setting_with_its_default() -> None:
    """A setting that is new, gone or of another default is to be told on the page."""
    known = defaults(SiteSettings(), "")
    for name, field in Settings.model_fields.items():
        if name != "defaults" and isinstance(field.default, BaseModel):
            known |= defaults(field.default, f"{name}.")
    assert told() == known
