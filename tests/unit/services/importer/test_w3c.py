"""Logs of IIS as they are really written."""

from __future__ import annotations

import pytest

from services.importer.line import Hit, LineError
from services.importer.w3c import W3c

AT = 1_779_869_103_000
"""2026-05-27T08:05:03Z."""

FIELDS = (
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) "
    "cs(Referer) sc-status sc-substatus sc-win32-status time-taken"
)
IIS_85 = [
    "#Software: Microsoft Internet Information Services 8.5",
    "#Version: 1.0",
    "#Date: 2026-05-27 00:00:00",
    f"#Fields: {FIELDS}",
]
LINE_85 = (
    "2026-05-27 08:05:03 10.0.0.4 GET /Default.aspx id=7&x=%2B 443 - 203.0.113.9 "
    "Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64)+Firefox/130.0 https://portal.example/ 200 0 0 15"
)


def read(lines: list[str]) -> list[Hit | None]:
    parse = W3c().parse
    return [parse(line) for line in lines]


def test_iis_8_5() -> None:
    """UTC; `+` stands for a space; the query is a field of its own."""
    *heading, hit = read([*IIS_85, LINE_85])
    assert heading == [None] * 4
    assert hit == Hit(
        AT,
        "203.0.113.9",
        "",
        "GET",
        "/Default.aspx?id=7&x=%2B",
        "200",
        "https://portal.example/",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/130.0",
    )


def test_iis_10_behind_a_proxy() -> None:
    """A custom field X-Forwarded-For is read; a space in the path is a space."""
    hit = read(
        [
            "#Fields: date time cs-method cs-uri-stem c-ip sc-status X-Forwarded-For",
            "2026-05-27 08:05:03 GET /tin+tuc/bài-1 10.0.0.1 304 203.0.113.9,+10.0.0.7",
        ]
    )[1]
    assert hit == Hit(
        AT, "10.0.0.1", "203.0.113.9, 10.0.0.7", "GET", "/tin%20tuc/bài-1", "304", "", None
    )


def test_fields_change_in_the_middle() -> None:
    """Every `#Fields:` holds until the next one; IIS writes one at each start."""
    hits = read(
        [
            "#Fields: date time cs-method cs-uri-stem sc-status c-ip",
            "2026-05-27 08:05:03 GET /a 200 1.1.1.1",
            "#Fields: c-ip time date sc-status cs-uri-stem cs-method",
            "2.2.2.2 08:05:04 2026-05-27 404 /b HEAD",
        ]
    )
    assert [(h.at, h.target, h.address, h.status) for h in hits if h is not None] == [
        (AT, "/a", "1.1.1.1", "200"),
        (AT + 1000, "/b", "2.2.2.2", "404"),
    ]


def test_quoted_fields() -> None:
    """Between quotes a space is a space and a doubled quote is one; tabs part fields, too."""
    hit = read(
        [
            "#Fields: date time cs-method cs-uri-stem sc-status cs(User-Agent) c-ip",
            '2026-05-27\t08:05:03.120\tGET\t/a\t200\t"Mozilla ""x"" 5.0"\t::1',
        ]
    )[1]
    assert hit is not None
    assert (hit.at, hit.agent, hit.address) == (AT, 'Mozilla "x" 5.0', "::1")


def test_the_date_of_the_directive() -> None:
    """Where lines have no date, `#Date:` has it; fields of nothing are empty."""
    hit = read(
        [
            "#Date: 2026-05-27 00:00:00",
            "#Fields: time c-ip cs-method cs-uri-stem sc-status",
            "08:05:03 - GET / 200",
        ]
    )[2]
    assert hit == Hit(AT, "", "", "GET", "/", "200", "", None)


@pytest.mark.parametrize(
    "lines",
    [
        [LINE_85],
        [*IIS_85, "2026-05-27 08:05:03 GET"],
        [*IIS_85, LINE_85.replace("08:05:03", "25:05:03")],
        [*IIS_85, LINE_85.replace("08:05:03", "08:05")],
        ["#Fields: date time cs-method c-ip sc-status"],
        ["#Fields: time cs-method cs-uri-stem c-ip sc-status"],
    ],
)
def test_lines_that_are_none(lines: list[str]) -> None:
    """Lines before #Fields:, cut lines, times that are none and missing fields are refused."""
    with pytest.raises(LineError):
        read(lines)
