"""No address that a page asks for is one that blockers refuse by its form alone, whatever the host is called."""

from __future__ import annotations

import re

import pytest

import widget

# Of the generic rules of EasyPrivacy, all of which were read in November 2026, those that come nearest to a visit counter
# (https://github.com/easylist/easylist, easyprivacy/easyprivacy_general.txt).
NEAREST = """
/view.gif? /visit.gif? /count.gif? /page-view.gif? /pageviews.gif? /postview.gif? /counter1.gif? /any/*.gif? .gif?event= /1x1.gif?
/counters/pages? /counter?id= /counter/?type= /counter/views/* /counter/stat. .com/counter? .com/count? /counter.*?event= /site_counter?
/VisitCounter. .pageVisitCounter_ /ViewCounter/* /hit-counter. /sitecounter/counter. /wps-visitor-counter/* /services/counters/*
/visits/pixel? /visit?id= /visit-tracker.js /visit-tag? /_visitcount? /measure/visit/* /track/views/* /log/views/* /views/vw.js
/add_page_view? /api/pageview? /collect/view? /events/view? /v1/page-hit /v1/pixel? /v1/impressions /v1/stats/track /api/v1/stat?
/views_tracking/* /view-log? /viewcount-service. /web_page_view? ?pageviews= &t=pageview& &event=view& &ref=*&tag= /log/page-view
/widget/track_event /embed-log.js /analytics/embed/* /event/pageview? /ajax/stat/* /count?type= /impression/stream/* /pixel/stream/*
""".split()  # noqa: SIM905  # read as lines of the list, not as Python

ADDRESSES = [
    "/widget/v1.js",
    f"/widget/{widget.VERSION}/visit-counter.js",
    "/widget/tools.js",
    "/widget/embed.css",
    "/v1/views",
    "/v1/views.gif?site=thanhxuan&page=/tin-tuc/bai-1",
    "/v1/sites/thanhxuan/counters?",
    "/v1/sites/thanhxuan/counters?metric=views&windows=calendar&after=3:10452",
    "/v1/sites/thanhxuan/pages?page=%2Ftin-tuc%2Fbai-1&page=%2F&",
    "/v1/sites/thanhxuan/stream?",
    "/v1/sites/thanhxuan/badge.svg?counter=total&theme=blue",
    "/v1/sites/thanhxuan/fragment.html",
    "/embed/thanhxuan?page=/tin-tuc/bai-1",
    "/sites/thanhxuan",
    "/sites/thanhxuan?lang=vi&metric=views",
    "/sites/thanhxuan?lang=vi&month=2026-11",
    "/sites/thanhxuan/install?lang=vi&page=https%3A%2F%2Fportal.example%2F",
    "/v1/views/recent?site=thanhxuan",
    "/widget/site.css",
    "/widget/site.js",
    "/widget/install.js",
    "/widget/uplot.css",
    "/widget/uplot.js",
]


def blocks(rule: str, url: str) -> bool:
    """Claim that a rule matches: anywhere in the address, `*` for anything, case left aside."""
    pattern = ".*".join(re.escape(part) for part in rule.split("*"))
    return re.search(pattern, url, re.IGNORECASE) is not None


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_generic_rule_matches(address: str) -> None:
    """Under a host of its own and under a path of the portal's alike."""
    for base in (
        "https://counter.example.com",
        "https://portal.example.gov.vn/dem",
        "https://portal.example.gov.vn/vc",  # as docs/proxy.md has it
    ):
        assert [rule for rule in NEAREST if blocks(rule, base + address)] == []


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/view.gif?site=x",
        "https://a.example/js/VisitCounter.js",
        "https://a.example.com/counter?site=x",
    ],
)
def test_the_rules_do_match_their_kind(url: str) -> None:
    """What they are made for is found."""
    assert [rule for rule in NEAREST if blocks(rule, url)]
