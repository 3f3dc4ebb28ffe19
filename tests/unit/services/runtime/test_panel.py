"""The panel's words: the reference case to the letter, and the same as the widget's."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import widget
from services.runtime.panel import CAPTION, Language, label, note, panel_lines
from visits.counters import Metric
from visits.window import Windows

NUMBERS = {"online": 1134, "week": 21559, "month": 87424, "year": 155277, "total": 155351}


def test_the_reference_case_reads_to_the_letter() -> None:
    """Caption and five lines are exactly those of the first user's portal."""
    lines = [f"{told}: {n}" for told, n in panel_lines(NUMBERS, Metric.VISITS, "vi")]
    assert [CAPTION["vi"], *lines] == [
        "Thống kê truy cập",
        "Đang online: 1134",
        "Lượt truy cập trong tuần: 21559",
        "Lượt truy cập trong tháng: 87424",
        "Lượt truy cập trong năm: 155277",
        "Tổng số truy cập: 155351",
    ]


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_the_widget_says_the_same_words(lang: Language) -> None:
    """Labels, caption and the meaning of the periods stand alike in the widget's script."""
    source = (Path(widget.__file__).parent / "visit-counter.js").read_text(encoding="utf-8")
    block = re.search(rf"{lang}: (\"[^;]*?\"),?\n", source, re.DOTALL)
    assert block is not None
    words = "".join(re.findall(r'"([^"]*)"', block[1])).split("|")
    nouns = words[8:11]
    names = ["online", "today", "yesterday", "week", "month", "year", "total"]
    for metric, noun in zip((Metric.VISITS, Metric.VIEWS, Metric.VISITORS), nouns, strict=True):
        for name, told in zip(names, words[1:8], strict=True):
            inner = noun.lower().replace("lượt t", "t") if name == "total" else noun
            assert label(name, metric, lang) == told.replace("%", inner)
    assert words[0] == CAPTION[lang]
    zone = ZoneInfo("Asia/Ho_Chi_Minh")
    for windows, told in zip((Windows.ROLLING, Windows.CALENDAR), words[11:13], strict=True):
        assert note(windows, 0, zone, lang, stale=False) == f"{told}. {words[13]}08:00:00"
        assert note(windows, 0, zone, lang, stale=True) == f"{told}. {words[14]}08:00:00"
