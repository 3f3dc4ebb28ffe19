"""The words of the statistics page and of the month's report; sentences stand in `texts/pages.toml`, read once."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from services.runtime.panel import NOUNS, Language

PAGE_VIEWS_MIN = 5
"""Pages with fewer views are not listed: a rarely read page could tell of its one reader."""

METRICS = NOUNS
"""What is counted, in the order of the pages' columns."""

COUNTERS: dict[Language, dict[str, str]] = {
    "vi": {
        "today": "Hôm nay",
        "yesterday": "Hôm qua",
        "week": "Tuần",
        "month": "Tháng",
        "year": "Năm",
        "total": "Tổng số",
    },
    "en": {
        "today": "Today",
        "yesterday": "Yesterday",
        "week": "Week",
        "month": "Month",
        "year": "Year",
        "total": "Total",
    },
}

OUTCOMES: dict[Language, dict[str, str]] = {
    "vi": {
        "duplicate": "gửi lại cùng một lượt xem",
        "bot": "robot",
        "prefetch": "tải trước, chưa hiển thị",
        "own": "của người quản trị",
        "ping": "tín hiệu đang xem",
    },
    "en": {
        "duplicate": "repeats of one view",
        "bot": "robots",
        "prefetch": "fetched ahead, not shown",
        "own": "the webmaster's own",
        "ping": "signs of a reader still there",
    },
}
"""How a request ended that is no view → in short; refusals that are mistakes of the sender keep their reason."""

WORDS: dict[Language, dict[str, str]] = msgspec.toml.decode(
    (files("services.api") / "texts" / "pages.toml").read_bytes(),
    type=dict[Language, dict[str, str]],
)
"""All other words, by their names in the templates."""

DATA: dict[Language, list[tuple[str, str]]] = {
    "vi": [
        ("Các bộ đếm", "counters"),
        ("Theo giờ", "history?interval=hour"),
        ("Theo ngày", "history?interval=day"),
        ("Theo tháng", "history?interval=month"),
        ("Trang được xem nhiều nhất", "pages/top?window=30d"),
        ("Sổ hiệu chỉnh", "ledger"),
        ("Đối chiếu sổ sách", "balance"),
    ],
    "en": [
        ("Counters", "counters"),
        ("By hour", "history?interval=hour"),
        ("By day", "history?interval=day"),
        ("By month", "history?interval=month"),
        ("Most viewed pages", "pages/top?window=30d"),
        ("Ledger of corrections", "ledger"),
        ("Balance of the books", "balance"),
    ],
}
"""Open data: title and address under `/v1/sites/{site}/`."""

WITHOUT_TABLE = frozenset({"counters"})
"""Open data that is JSON only."""
