"""Commands as the documentation shows them: found in its blocks, and read by the real command line without running."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import typer

from services.cli import app
from tests.support.document import Document

PROGRAM = "visit-counter"
IN_CONTAINER = "docker compose run --rm cli"
_START = re.compile(rf"(?:^|[\s(\"'/])(?:{PROGRAM}|{IN_CONTAINER}) ([a-z].*)")
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


def mentioned_commands(document: Document) -> Iterator[list[str]]:
    """Yield the arguments of commands within sentences and tables, which may leave out what is not spoken of."""
    for text in document.inline:
        found = _START.match(text)
        if found and "…" not in text:
            yield _words(found[1])


def all_commands() -> set[tuple[str, ...]]:
    """Return the names of all commands, those of a group behind the group's."""
    found: set[tuple[str, ...]] = set()
    waiting: list[tuple[tuple[str, ...], object]] = [((), typer.main.get_command(app))]
    while waiting:
        names, command = waiting.pop()
        if isinstance(command, typer.core.TyperGroup):
            waiting += [((*names, name), one) for name, one in command.commands.items()]
        else:
            found.add(names)
    return found


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


def check_names(arguments: list[str]) -> None:
    """Check that the command of some arguments exists, and has the options they name.

    Raises:
        AssertionError: naming what there is not.
    """
    command, rest = typer.main.get_command(app), list(arguments)
    while isinstance(command, typer.core.TyperGroup) and rest:
        name = rest.pop(0)
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
    known = {name for parameter in command.params for name in parameter.opts}
    unknown = {word for word in rest if re.match(r"--?[a-z]", word)} - known - {"--help", "-h"}
    assert not unknown, f"no option {unknown}"


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
    return words
