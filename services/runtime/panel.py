"""The panel in words: caption, labels, what the periods mean. The widget says the same (`widget/visit-counter.js`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from visits.counters import Metric
from visits.window import Windows

Language = Literal["vi", "en"]
LINES = ("online", "week", "month", "year", "total")
"""The five lines of the panel, in their order (DESIGN 1)."""

CAPTION: dict[Language, str] = {"vi": "Thống kê truy cập", "en": "Visit statistics"}
VIEWS: dict[Language, str] = {"vi": "Lượt xem", "en": "Views"}
"""The label of one page's views."""

NOUNS: dict[Language, dict[Metric, str]] = {
    "vi": {
        Metric.VISITS: "Lượt truy cập",
        Metric.VIEWS: "Lượt xem",
        Metric.VISITORS: "Khách",
    },
    "en": {Metric.VISITS: "Visits", Metric.VIEWS: "Views", Metric.VISITORS: "Visitors"},
}
"""What is counted, in words."""

_LABELS: dict[Language, dict[str, str]] = {
    "vi": {
        "online": "Đang online",
        "today": "{noun} hôm nay",
        "yesterday": "{noun} hôm qua",
        "week": "{noun} trong tuần",
        "month": "{noun} trong tháng",
        "year": "{noun} trong năm",
        "total": "Tổng số {noun}",
    },
    "en": {
        "online": "Online now",
        "today": "{noun} today",
        "yesterday": "{noun} yesterday",
        "week": "{noun} this week",
        "month": "{noun} this month",
        "year": "{noun} this year",
        "total": "Total {noun}",
    },
}
_PERIODS: dict[Language, dict[Windows, str]] = {
    "vi": {
        Windows.ROLLING: "7, 30, 365 ngày gần nhất",
        Windows.CALENDAR: "Từ thứ Hai, ngày 1, ngày 1/1",
    },
    "en": {
        Windows.ROLLING: "Last 7, 30, 365 days",
        Windows.CALENDAR: "Since Monday, the 1st, 1 January",
    },
}
_UPDATED: dict[Language, dict[bool, str]] = {
    "vi": {False: "Cập nhật lúc ", True: "Số liệu chậm, lúc "},
    "en": {False: "Updated at ", True: "Late: "},
}


def label(name: str, metric: Metric, lang: Language) -> str:
    """Return the label of a line, without its colon.

    Args:
        name: `online` or a window.
        metric: what is counted.
        lang: the language.
    """
    noun = NOUNS[lang][metric]
    if name == "total":
        # "Tổng số truy cập", not "Tổng số lượt truy cập"; but "Tổng số lượt xem".
        noun = noun.lower().replace("lượt t", "t")
    return _LABELS[lang][name].format(noun=noun)


def panel_lines(
    numbers: Mapping[str, int], metric: Metric, lang: Language, names: Sequence[str] = LINES
) -> list[tuple[str, int]]:
    """Return label and number of each line."""
    return [(label(name, metric, lang), numbers[name]) for name in names]


def note(windows: Windows, as_of: int, zone: ZoneInfo, lang: Language, *, stale: bool) -> str:
    """Return what the periods mean and the time of the numbers (`as_of` in Unix milliseconds), as the panel says it apart."""
    time = datetime.fromtimestamp(as_of / 1000, zone).strftime("%H:%M:%S")
    return f"{_PERIODS[lang][windows]}. {_UPDATED[lang][stale]}{time}"
