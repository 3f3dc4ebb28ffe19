"""The recipes' settings, read by the real settings parser, name pages as the recipes say they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.api.install_words import RECIPES as INSTALLED
from services.runtime.settings import load_configuration
from services.runtime.site import Site
from tests.support.document import Document, read_document
from tests.support.visit_counter import REPOSITORY

FOLDER = REPOSITORY / "docs" / "recipes"
HEADINGS = ["address", "counts for"]
RECIPES = [read_document(path) for path in sorted(FOLDER.glob("*.md")) if path.stem != "README"]


def addresses(document: Document) -> list[list[str]]:
    """Return the rows of a recipe's table of addresses."""
    return [row for table in document.tables if table[0] == HEADINGS for row in table[1:]]


def declared(document: Document, tmp_path: Path) -> Site:
    """Return the site that a recipe declares."""
    [text] = document.blocks_of("toml")
    file = tmp_path / "visit-counter.toml"
    file.write_text(text, encoding="utf-8")
    [site] = load_configuration(file, year=2026).sites.values()
    return site


@pytest.mark.parametrize("document", RECIPES, ids=lambda one: one.path.stem)
def test_addresses_count_for_the_pages_that_are_told(document: Document, tmp_path: Path) -> None:
    """Each address of the table counts for the page beside it; each recipe has at least six, one of them of no page."""
    site = declared(document, tmp_path)
    told = addresses(document)
    assert [[address, site.page(address)] for address, _ in told] == told
    assert len(told) >= 6


@pytest.mark.parametrize("document", RECIPES, ids=lambda one: one.path.stem)
def test_every_setting_is_needed(document: Document, tmp_path: Path) -> None:
    """Without the recipe's keys, patterns, exclusions or case some address would count for another page."""
    site = declared(document, tmp_path)
    told = dict(addresses(document))
    for setting in ("query_keys", "pages", "exclude_pages", "ignore_case"):
        if setting not in site.settings.model_fields_set:
            continue
        [text] = document.blocks_of("toml")
        kept = [line for line in text.splitlines() if not line.startswith(setting)]
        file = tmp_path / f"without-{setting}.toml"
        file.write_text("\n".join(kept), encoding="utf-8")
        [other] = load_configuration(file, year=2026).sites.values()
        assert {one: other.page(one) for one in told} != told, setting


def test_recipes_are_listed() -> None:
    """The list of recipes names every recipe."""
    listed = set(read_document(FOLDER / "README.md").links)
    assert {document.path.name for document in RECIPES} <= listed


def test_install_help_agrees(tmp_path: Path) -> None:
    """The keys that the install help of a running service names are among those of the recipe."""
    files = {"HTML": "static"}
    for recipe in INSTALLED:
        name = files.get(recipe.name, recipe.name.lower())
        site = declared(read_document(FOLDER / f"{name}.md"), tmp_path)
        known = {key.lower() for key in site.query_keys}
        assert {key.lower() for key in recipe.keys} <= known, recipe.name
