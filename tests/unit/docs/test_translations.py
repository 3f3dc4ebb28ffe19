"""The Vietnamese pages say what the English ones say: as far as a program can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.document import Document, read_document
from tests.support.visit_counter import REPOSITORY

PAIRS = [
    (REPOSITORY / "README.md", REPOSITORY / "README.vi.md"),
    *(
        (REPOSITORY / "docs" / path.name, path)
        for path in sorted((REPOSITORY / "docs" / "vi").glob("*.md"))
        if path.name != "index.md"
    ),
]
LETTERS = "ăâđêôơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ"
"""Letters that Vietnamese has and no neighbour: nearly every sentence carries some."""

together = pytest.mark.parametrize(("english", "vietnamese"), PAIRS, ids=lambda path: path.name)


def shape(document: Document) -> list[int]:
    """Return the levels of the headings."""
    return [level for level, _ in document.headings]


def targets(document: Document) -> list[str]:
    """Return what is linked to, but for the way there; a page of one's own language counts as the page."""
    return [link if "://" in link else Path(link).name for link in document.links]


@together
def test_headings_are_the_same(english: Path, vietnamese: Path) -> None:
    """Both have as many headings, of the same levels in the same order, each in its own language."""
    one, other = read_document(english), read_document(vietnamese)
    assert shape(one) == shape(other)
    assert one.headings != other.headings


@together
def test_code_is_the_same(english: Path, vietnamese: Path) -> None:
    """Blocks of code are the same, letter for letter: what is to be typed has no language."""
    assert read_document(english).blocks == read_document(vietnamese).blocks


@together
def test_tables_have_the_same_rows(english: Path, vietnamese: Path) -> None:
    """Tables have as many rows and cells."""
    sizes = [
        [[len(row) for row in table] for table in read_document(path).tables]
        for path in (english, vietnamese)
    ]
    assert sizes[0] == sizes[1]


@together
def test_addresses_elsewhere_are_the_same(english: Path, vietnamese: Path) -> None:
    """Sources are the same in both, and so are the pages they lead on to."""
    one, other = (set(targets(read_document(path))) for path in (english, vietnamese))
    switches = {"README.md", "README.vi.md", english.name}
    assert one - switches == other - switches


@together
def test_translation_is_vietnamese(english: Path, vietnamese: Path) -> None:
    """No paragraph of the translation was left in English."""
    del english
    prose = [
        paragraph
        for paragraph in vietnamese.read_text(encoding="utf-8").split("\n\n")
        if not paragraph.startswith(("    ", "```", "|", "![", "#"))
        and len([word for word in paragraph.split() if word.isalpha()]) > 5
    ]
    assert [text for text in prose if not set(text.lower()) & set(LETTERS)] == []


def test_figures_of_the_comparison_are_measured() -> None:
    """Our own figures in the comparison are those of docs/performance.md, in both languages."""
    folder = REPOSITORY / "docs"
    measured = (folder / "performance.md").read_text(encoding="utf-8")
    english = re.findall(r"\d+,\d{3}", (folder / "compare.md").read_text(encoding="utf-8"))
    vietnamese = re.findall(r"\d+\.\d{3}\b", (folder / "vi/compare.md").read_text(encoding="utf-8"))
    assert english
    assert [figure for figure in english if figure not in measured] == []
    assert vietnamese == [figure.replace(",", ".") for figure in english]
