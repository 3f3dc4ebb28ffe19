"""The documentation against what it speaks of: its links lead somewhere, its commands parse, its settings load."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from services.runtime.settings import Settings, load_configuration
from tests.support.document import Document, all_documents, read_document
from tests.support.shown_command import (
    all_commands,
    check_command,
    check_names,
    mentioned_commands,
    shown_commands,
)
from tests.support.visit_counter import REPOSITORY

DOCUMENTS = list(all_documents())
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"(?m)^([a-z][a-z-]*):", MAKEFILE))


def by_name(documents: Iterable[Document]) -> pytest.MarkDecorator:
    """Run a test for each document."""
    listed = list(documents)
    return pytest.mark.parametrize("document", listed, ids=[one.name for one in listed])


@by_name(DOCUMENTS)
def test_relative_links_lead_to_files_and_headings(document: Document) -> None:
    """A link without a scheme names a file of the repository, and a heading that this file has."""
    for link in document.links:
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = document.path if not path else (document.path.parent / path).resolve()
        assert target.exists(), f"{document.name}: {link}"
        if anchor:
            assert anchor in read_document(target).anchors(), f"{document.name}: {link}"


@by_name(one for one in DOCUMENTS if list(shown_commands(one)))
def test_commands_are_read_by_the_command_line(document: Document) -> None:
    """Every command that is shown is one that the command line takes, with these options."""
    for arguments in shown_commands(document):
        try:
            check_command(arguments)
        except Exception as error:  # noqa: BLE001  # typer's own are of no public type
            pytest.fail(f"{document.name}: visit-counter {' '.join(arguments)}: {error}")


@by_name(one for one in DOCUMENTS if list(mentioned_commands(one)))
def test_commands_in_sentences_exist(document: Document) -> None:
    """Every command that is spoken of exists, and has the options that are named."""
    for arguments in mentioned_commands(document):
        check_names(arguments)


def test_every_command_is_told_of() -> None:
    """No command is left for `--help` alone to tell of."""
    told = {
        tuple(arguments[:length])
        for document in DOCUMENTS
        for arguments in (*shown_commands(document), *mentioned_commands(document))
        for length in (1, 2)
    }
    assert all_commands() <= told


@by_name(DOCUMENTS)
def test_targets_of_make_are_in_the_makefile(document: Document) -> None:
    """Every `make NAME` that is shown is a target."""
    shown = [*document.inline, *(block.text for block in document.blocks)]
    named = {name for text in shown for name in re.findall(r"(?m)^\s*make ([a-z][a-z-]*)", text)}
    assert named <= TARGETS


@by_name(one for one in DOCUMENTS if one.blocks_of("xml"))
def test_xml_is_well_formed(document: Document) -> None:
    """A configuration in XML can be read."""
    for text in document.blocks_of("xml"):
        ET.fromstring(text)


@by_name(DOCUMENTS)
def test_settings_are_read_by_the_settings(document: Document, tmp_path: Path) -> None:
    """Every block of settings is a configuration that loads."""
    (tmp_path / "sites.d").mkdir()
    for number, block in enumerate(document.blocks):
        if block.language == "toml" or (not block.language and _is_settings(block.text)):
            file = tmp_path / f"{number}.toml"
            file.write_text(block.text, encoding="utf-8")
            load_configuration(file, year=2026)


def test_navigation_names_every_page_once() -> None:
    """The documentation site has every page that its navigation names, and its navigation every page of docs/."""
    site = tomllib.loads((REPOSITORY / "zensical.toml").read_text(encoding="utf-8"))["project"]
    pages = list(_leaves(site["nav"]))
    assert sorted(set(pages)) == sorted(pages)
    folder = REPOSITORY / site["docs_dir"]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    assert set(pages) == there, "put new pages into the nav of zensical.toml"


def _is_settings(text: str) -> bool:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return bool(values) and values.keys() <= Settings.model_fields.keys()


def _leaves(nav: object) -> Iterable[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, list):
        for entry in nav:
            yield from _leaves(entry)
    elif isinstance(nav, dict):
        for entry in nav.values():
            yield from _leaves(entry)
