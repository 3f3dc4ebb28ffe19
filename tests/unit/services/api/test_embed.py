"""What stands where no script runs: badge, fragment and frame, safe whatever the names are."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import day_of, view

HOSTILE = "<script>alert('1')</script>\"&"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
async def counted(api: Api) -> Api:
    """An api that has counted three views of one reader, two of a page."""
    now = now_ms()
    pages = ("/a", "/a", "/b")
    await api.count(
        *[
            view(now, id=f"view-{n}-000", site="demo", page=page, day=day_of(now), visitor="0" * 16)
            for n, page in enumerate(pages)
        ]
    )
    return api


async def test_a_badge_says_label_and_number_to_everybody(counted: Api) -> None:
    """The image has a title, a role and a label of the same words, in the language asked for."""
    answer = await counted.get("/v1/sites/demo/badge.svg", "metric=views")
    root = ET.fromstring(answer.body)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Tổng số lượt xem: 3"
    assert [text.text for text in root.iter(f"{SVG}text")] == ["Tổng số lượt xem", "3"]
    english = await counted.get("/v1/sites/demo/badge.svg", "counter=online&lang=en&theme=dark")
    assert ET.fromstring(english.body).findtext(f"{SVG}title") == "Online now: 1"


async def test_a_badge_of_a_page_has_its_views_or_a_dash(counted: Api) -> None:
    """A page's badge has its views, 0 for one nobody saw, a dash for one that has no counter of its own."""
    for page, expected in (("/a", "2"), ("/nobody", "0"), ("/hidden", "–")):
        answer = await counted.get("/v1/sites/demo/badge.svg", f"page={page}")
        assert ET.fromstring(answer.body).findtext(f"{SVG}title") == f"Lượt xem: {expected}"


async def test_a_badge_that_is_known_is_not_sent_again(counted: Api) -> None:
    """The tag follows the number."""
    first = await counted.get("/v1/sites/demo/badge.svg", "metric=views")
    tag = first.headers["etag"]
    again = await counted.get("/v1/sites/demo/badge.svg", "metric=views", if_none_match=tag)
    assert (again.status, again.body) == (304, b"")
    now = now_ms()
    await counted.count(view(now, id="view-more-1", site="demo", day=day_of(now)))
    later = await counted.get("/v1/sites/demo/badge.svg", "metric=views&counter=total")
    assert later.status == 200


async def test_the_fragment_is_the_panel_without_style_or_script(counted: Api) -> None:
    """Caption and five lines, then what the periods mean, apart; nothing a strict policy would refuse."""
    html = (await counted.get("/v1/sites/demo/fragment.html", "metric=views")).body.decode()
    root = ET.fromstring(f"<root>{html}</root>")
    panel, note = root
    assert ["".join(line.itertext()) for line in panel] == [
        "Thống kê truy cập",
        "Đang online: 1",
        "Lượt xem trong tuần: 3",
        "Lượt xem trong tháng: 3",
        "Lượt xem trong năm: 3",
        "Tổng số lượt xem: 3",
    ]
    assert "".join(note.itertext()).startswith("7, 30, 365 ngày gần nhất. Cập nhật lúc ")
    assert "style" not in html
    assert "script" not in html


async def test_a_frame_may_stand_on_the_sites_own_pages_only(tmp_path: Path) -> None:
    """frame-ancestors names the origins of the site; without any, everybody's."""
    sites = {"open": {}, "own": {"origins": ["https://a.example", "https://*.b.example"]}}
    api = Api(tmp_path, sites=sites)
    await api.log.open()
    await api.store.open()
    await api.count(view(now_ms(), site="own"))
    for site, ancestors in (("open", "*"), ("own", "https://a.example https://*.b.example")):
        policy = (await api.get(f"/embed/{site}")).headers["content-security-policy"]
        assert policy.endswith(f"frame-ancestors {ancestors}")
        assert "script-src 'self'" in policy
    await api.part.close()
    await api.store.close()
    await api.log.close()


async def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """A name, a page or a language that tries to be markup is escaped or refused."""
    api = Api(tmp_path, sites={"demo": {"name": HOSTILE}})
    await api.log.open()
    await api.store.open()
    await api.count(view(now_ms(), site="demo"))
    page = "/%3Cscript%3Ealert(1)%3C/script%3E%22"
    for path, query in (
        ("/embed/demo", f"page={page}"),
        ("/v1/sites/demo/badge.svg", f"page={page}"),
        ("/v1/sites/demo/fragment.html", ""),
    ):
        answer = await api.get(path, query)
        assert answer.status == 200
        assert b"<script>alert" not in answer.body
    referred = await api.get("/embed/demo", referer='https://x.example/"><script>alert(1)</script>')
    assert b"<script>alert" not in referred.body
    for path in ("/embed/demo", "/v1/sites/demo/badge.svg"):
        assert (await api.get(path, "lang=%3Cb%3E")).status == 400
    assert (await api.get("/embed/%3Cb%3E")).status == 404
    await api.part.close()
    await api.store.close()
    await api.log.close()


async def test_numbers_that_are_not_there_are_no_zeros(api: Api) -> None:
    """Before anything is counted each form answers 503."""
    for path in (
        "/embed/demo",
        "/sites/demo",
        "/v1/sites/demo/badge.svg",
        "/v1/sites/demo/fragment.html",
    ):
        answer = await api.get(path)
        assert (answer.status, answer.json["reason"]) == (503, "starting")
