"""Commands as the documentation shows them: found in its blocks, and read by the real command line without running."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import typer

from services.cli import app
from tests.support.document import Document

PROGRAM = "visit-counter"
_START = re.compile(rf"(?:^|[\s(\"'/])({PROGRAM} [a-z].*)")
_SHELL = {"|", "||", "&&", ";", ">", ">>", "<", "&", ")", "2>&1"}


def shown_commands(document: Document) -> Iterator[list[str]]:
    """Yield the arguments of every command in a document's blocks of shell, after `visit-counter`."""
    for block in document.blocks:
        if block.language not in {"", "sh", "bash", "shell", "console"}:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            # A comment or a message of the program itself is no command.
            found = None if re.match(r"\s*(#|visit-counter:)", line) else _START.search(line)
            if found:
                yield _words(found[1])


def check_command(arguments: list[str]) -> None:
    """Let the real command line read arguments.

    Raises:
        Exception: it does not take them; the message says which.
    """
    command = typer.main.get_command(app)
    context = command.make_context(PROGRAM, list(arguments))
    while isinstance(command, typer.core.TyperGroup):
        name, found, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert found is not None, f"no command {name}"
        command, context = found, found.make_context(name, rest, parent=context)


def _words(line: str) -> list[str]:
    """Split a line as a shell does, up to the end of this command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if word in _SHELL:
            break
        words.append(word)
    return words[1:]
