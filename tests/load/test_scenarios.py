"""The load tests themselves, for a few seconds each on an embedded counter of their own: what they claim holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.load import (
    burst,
    hot_site,
    many_pages,
    many_sites,
    mixed,
    soak_with_kills,
    sse_crowd,
    steady,
)

SHORT = ["--rate", "200", "--duration", "3s"]


@pytest.mark.parametrize(
    ("main", "name", "options"),
    [
        (steady.main, "steady", SHORT),
        (burst.main, "burst", ["--rate", "50", "--duration", "9s", "--factor", "5"]),
        (many_sites.main, "many-sites", [*SHORT, "--count", "50"]),
        (hot_site.main, "hot-site", SHORT),
        (many_pages.main, "many-pages", [*SHORT, "--pages", "5000"]),
        (mixed.main, "mixed", [*SHORT, "--reads", "200"]),
        (sse_crowd.main, "sse-crowd", ["--duration", "5s", "--readers", "100"]),
        (soak_with_kills.main, "soak-with-kills", ["--duration", "12s", "--every", "3"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_load_test_finds_its_claims_true_and_writes_its_results(
    main: Callable[[Sequence[str]], int], name: str, options: list[str], tmp_path: Path
) -> None:
    assert main([*options, "--results", str(tmp_path)]) == 0
    assert json.loads((tmp_path / f"{name}.json").read_bytes())
    if name != "sse-crowd":
        assert (tmp_path / f"{name}.svg").read_text(encoding="utf-8").startswith("<svg ")
