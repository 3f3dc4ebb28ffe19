"""What `/openapi.json` shows of each answer; `tests/unit/services/api/test_openapi.py` holds the examples against real ones."""

from __future__ import annotations

from typing import Any

from services.runtime.problem import PROBLEM_TYPE

_AS_OF = "2026-11-24T14:05:09.120+07:00"
_COUNTERS = {
    "site": "thanhxuan",
    "metric": "visits",
    "windows": "rolling",
    "online": 1134,
    "today": 902,
    "yesterday": 3120,
    "week": 21559,
    "month": 87424,
    "year": 155277,
    "total": 155351,
    "periods": {"week": {"from": "2026-11-17T15:00:00+07:00", "to": _AS_OF}},
    "as_of": _AS_OF,
    "lag_seconds": 0.12,
    "stale": False,
    "lang": "vi",
}
_HISTORY = {
    "site": "thanhxuan",
    "metric": "visits",
    "interval": "day",
    "timezone": "Asia/Ho_Chi_Minh",
    "from": "2026-11-23T00:00:00+07:00",
    "to": _AS_OF,
    "points": [
        {"from": "2026-11-23T00:00:00+07:00", "to": "2026-11-24T00:00:00+07:00", "n": 3120},
        {"from": "2026-11-24T00:00:00+07:00", "to": _AS_OF, "n": 902},
    ],
    "as_of": _AS_OF,
    "stale": False,
}
_TOP = {
    "site": "thanhxuan",
    "window": "30d",
    "from": "2026-10-26T00:00:00+07:00",
    "to": _AS_OF,
    "pages": [{"page": "/tin-tuc/bai-4", "views": 204}, {"page": "/tin-tuc/bai-6", "views": 152}],
    "other": 12,
    "views": 653,
    "page_count": 6,
    "as_of": _AS_OF,
    "stale": False,
}
_ENTRY = {
    "id": "tIeVv2dOqf0mYx3a",
    "position": 0,
    "at": "2026-11-24T08:00:00+07:00",
    "outcome": "applied",
    "metric": "visits",
    "n": 155351,
    "reason": "",
    "from": None,
    "to": "2026-11-24T08:00:00+07:00",
    "spans": [
        {"from": None, "to": None, "n": 74},
        {"from": "2025-11-24T08:00:00+07:00", "to": "2026-11-24T08:00:00+07:00", "n": 155277},
    ],
    "spans_count": 2,
    "pages": 1,
    "pages_n": 56,
    "forget": None,
    "forgotten": 0,
    "who": "webmaster",
    "why": "opening balance",
    "evidence": "screenshot of the old counter, 2026-11-24",
    "estimated": True,
}
_CHECK = {
    "name": "local_days",
    "what": "views in the buckets of each local day - those in the ledger = views counted on it",
    "left": 4022,
    "right": 4022,
    "difference": 0,
    "places": [],
}
_BALANCE = {
    "site": "thanhxuan",
    "timezone": "Asia/Ho_Chi_Minh",
    "closes": True,
    "difference": 0,
    "received": 4310,
    "counted": 4022,
    "duplicate": 3,
    "refused": {"bot": 285},
    "totals": {
        "views": {"carried_over": 0, "counted": 4022, "corrected": 0, "total": 4022},
        "visits": {"carried_over": 155351, "counted": 902, "corrected": 0, "total": 156253},
        "visitors": {"carried_over": 0, "counted": 700, "corrected": 0, "total": 700},
    },
    "checks": [_CHECK],
    "days": [
        {
            "day": "2026-11-24",
            "received": 4310,
            "counted": 4022,
            "duplicate": 3,
            "refused": {"bot": 285},
            "views": 4022,
            "ledger": 0,
            "difference": 0,
        }
    ],
    "may_miss": "refusals of the last 10 s before an ingest process was killed; never a view",
    "as_of": _AS_OF,
    "stale": False,
}
_STREAM = f'retry: 5000\n\nevent: counters\ndata: {{"site":"thanhxuan","online":1134,"as_of":"{_AS_OF}"}}\n\n'
_HISTORY_CSV = "from,to,visits\n2026-11-23,2026-11-23,3120\n2026-11-24,2026-11-24,902\n"
_TOP_CSV = "rank,page,views\n1,/tin-tuc/bai-4,204\n2,/tin-tuc/bai-6,152\n,(other),12\n"
_LEDGER_CSV = "id,position,at,outcome,…\ntIeVv2dOqf0mYx3a,0,2026-11-24T08:00:00+07:00,applied,…\n"
_BALANCE_CSV = (
    "day,received,counted,duplicate,refused,views,ledger,difference\n"
    "2026-11-24,4310,4022,3,285,4022,0,0\n"
)

EXAMPLES: dict[str, dict[str, Any]] = {
    "counters": _COUNTERS,
    "pages": {
        "site": "thanhxuan",
        "pages": {"/tin-tuc/bai-1": 56, "/b": None},
        "as_of": _AS_OF,
        "lang": "vi",
    },
    "top_pages": _TOP,
    "history": _HISTORY,
    "ledger": {"site": "thanhxuan", "entries": [_ENTRY], "stale": False},
    "balance": _BALANCE,
}
"""Name of a route → an answer in JSON."""

_TEXTS = {
    "stream": ("text/event-stream", _STREAM),
    "widget": ("text/javascript", "// the widget's script"),
    "versioned_widget": ("text/javascript", "// the widget's script"),
    "widget_tools": ("text/javascript", "// what a webmaster looks into the widget with"),
    "badge": ("image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg" role="img">…</svg>'),
    "fragment": ("text/html", '<div class="visit-counter" lang="vi">…</div>'),
    "embed": ("text/html", "<!doctype html>…"),
    "site_page": ("text/html", "<!doctype html>…"),
    "install": ("text/html", "<!doctype html>…"),
    "page_style": ("text/css", "body { margin: 0 }"),
    "page_script": ("text/javascript", "// draws the tables as charts"),
}
_TABLES = {
    "top_pages": _TOP_CSV,
    "history": _HISTORY_CSV,
    "ledger": _LEDGER_CSV,
    "balance": _BALANCE_CSV,
}
_PROBLEM = {
    "type": "/problems/malformed",
    "title": "malformed",
    "status": 400,
    "reason": "malformed",
    "detail": "the range is empty: from must be before to",
}
_PROBLEMS = {
    400: "malformed: a parameter that cannot be read",
    404: "unknown_site: no such site is declared",
    503: "starting: nothing is counted yet; unavailable: the store is away and nothing was read before, or too many ask",
}
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "the numbers are those of If-None-Match"}
}


def answers(name: str) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of a route's answers."""
    content: dict[str, Any] = {}
    if name in EXAMPLES:
        content["application/json"] = {"example": EXAMPLES[name]}
    if name in _TABLES:
        content["text/csv"] = {"example": _TABLES[name]}
    if name in _TEXTS:
        kind, text = _TEXTS[name]
        content[kind] = {"example": text}
    problems: dict[int | str, dict[str, Any]] = {
        status: {
            "description": what,
            "content": {
                PROBLEM_TYPE: {"example": _PROBLEM} if status == _PROBLEM["status"] else {}
            },
        }
        for status, what in _PROBLEMS.items()
    }
    return {200: {"description": "the answer", "content": content}, **_NOT_MODIFIED, **problems}
