"""Every log call of the services: a constant event, and fields that hold nothing of a reader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SERVICES = Path(__file__).resolve().parents[4] / "services"
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
LOGGER = "log"

# Names of settings, sites and files, positions, counts, our own sentences. Whoever adds one asks whether anything that a stranger
# sent can stand in it.
FIELDS = frozenset(
    {
        # which one
        "file", "folder", "id", "network", "part", "partition", "settings", "site", "state", "token", "topic",
        # how many, how far, how long
        "end", "epoch", "epoch_before", "expected", "position", "retention_ms", "seconds", "sites", "stored",
        # why, in our own words
        "after", "checks", "detail", "difference", "kept", "kind", "reason",
        # of the configuration
        "added", "changed", "removed",
    }
)  # fmt: skip


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every log call with the place it stands at."""
    for path in sorted(SERVICES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == LOGGER
            ):
                yield f"{path.relative_to(SERVICES)}:{node.lineno}", node


def test_the_event_is_a_constant() -> None:
    """Data goes into fields: an event can be counted and searched for, and holds nothing of a request."""
    found = list(calls())
    assert len(found) > 20
    for place, call in found:
        assert len(call.args) == 1, place
        assert isinstance(call.args[0], ast.Constant), place


def test_fields_are_known() -> None:
    """A field nobody has thought about does not slip in."""
    for place, call in calls():
        for keyword in call.keywords:
            asked = f"{place}: can anything that a stranger sent stand in {keyword.arg!r}? If not, add it to FIELDS"
            assert keyword.arg in FIELDS, asked
