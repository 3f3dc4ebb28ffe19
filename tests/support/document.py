"""A page of the documentation, taken apart: headings, code blocks, tables and links. CommonMark and tables, by markdown-it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.visit_counter import REPOSITORY

SKIPPED_FOLDERS = {".venv", "node_modules", ".git", "site", ".pytest_cache"}


class Block(NamedTuple):
    """A block of code: what stands behind its fence (empty where it is indented), and its text."""

    language: str
    text: str


@dataclass(frozen=True)
class Document:
    """One Markdown file.

    Attributes:
        path: where it stands.
        headings: level and text, in order.
        blocks: of code.
        inline: code within sentences.
        links: targets as written, of images too.
        tables: rows of cells as text, headings first.
    """

    path: Path
    headings: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The path within the repository."""
        return self.path.relative_to(REPOSITORY).as_posix()

    def anchors(self) -> set[str]:
        """Return what a link to a heading may name, as GitHub makes it."""
        return {slug(text) for _, text in self.headings}

    def blocks_of(self, *languages: str) -> list[str]:
        """Return the texts of blocks in these languages."""
        return [block.text for block in self.blocks if block.language in languages]


def slug(heading: str) -> str:
    """Return a heading's anchor: lower case, hyphens for spaces, no punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def read_document(path: Path) -> Document:
    """Take a file apart."""
    document = Document(path)
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type in {"fence", "code_block"}:
            document.blocks.append(Block(token.info.strip(), token.content))
        elif token.type == "table_open":
            document.tables.append([])
        elif token.type == "tr_open":
            document.tables[-1].append([])
        elif token.type in {"th_open", "td_open"} and following is not None:
            document.tables[-1][-1].append(_text(following))
        elif token.type == "heading_open" and following is not None:
            document.headings.append((int(token.tag[1:]), _text(following)))
        elif token.type == "inline":
            _read_inline(document, token)
    return document


def all_documents() -> Iterator[Document]:
    """Yield every Markdown file of the repository."""
    for path in sorted(REPOSITORY.rglob("*.md")):
        if not SKIPPED_FOLDERS & set(path.relative_to(REPOSITORY).parts):
            yield read_document(path)


def _text(inline: Token) -> str:
    return "".join(
        child.content for child in inline.children or [] if child.type in {"text", "code_inline"}
    )


def _read_inline(document: Document, token: Token) -> None:
    for child in token.children or []:
        if child.type == "code_inline":
            document.inline.append(child.content)
        elif child.type in {"link_open", "image"}:
            document.links.append(str(child.attrs["href" if child.type == "link_open" else "src"]))
