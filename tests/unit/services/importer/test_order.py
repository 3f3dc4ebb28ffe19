"""Views come into the order of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer import order
from services.importer.judge import Shown
from services.importer.order import WINDOW_MS, in_order, merge
from visits.counters import MINUTE_MS


def shown(at: int, page: str = "/") -> Shown:
    return Shown(at, page, b"1234", "x", entry=False)


@given(
    st.lists(st.tuples(st.integers(0, 4 * MINUTE_MS), st.integers(0, WINDOW_MS)), max_size=80),
    st.integers(1, 20),
)
def test_lines_within_the_window_come_sorted(steps: list[tuple[int, int]], size: int) -> None:
    """However lines up to 10 minutes out of order are cut into chunks: all come, by time."""
    now, views = 0, []
    for number, (step, back) in enumerate(steps):
        now += step
        views.append(shown(max(0, now - back), f"/{number}"))
    found = [item for chunk in in_order(views, size) for item in chunk]
    assert found == sorted(views, key=lambda item: item.at)


def test_a_straggler_comes_where_it_stands() -> None:
    """What stands further back comes late, and is not lost."""
    views = [shown(minute * MINUTE_MS) for minute in (0, 30, 60, 1, 90)]
    chunks = list(in_order(views, 1))
    assert [item.at // MINUTE_MS for chunk in chunks for item in chunk] == [0, 30, 1, 60, 90]


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More views in one window than may be held: the oldest go on."""
    monkeypatch.setattr(order, "HELD_MAX", 10)
    chunks = list(in_order([shown(number) for number in range(100)], 5))
    assert max(map(len, chunks)) <= 15
    assert sum(map(len, chunks)) == 100


def test_several_files_are_merged_by_time() -> None:
    """Two servers' logs are one; views of one moment keep the order of the files."""
    merged = merge([[shown(1, "/a"), shown(5, "/b")], [shown(1, "/c"), shown(3, "/d")]])
    assert [item.page for item in merged] == ["/a", "/c", "/d", "/b"]
