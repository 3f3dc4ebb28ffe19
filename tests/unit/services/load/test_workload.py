"""What the generator sends."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from services.load.access_log import page_views
from services.load.plan import read_replay
from services.load.target import parse_target
from services.load.workload import Replay, Views, address
from visits.errors import SettingsError

LOG = Path(__file__).parents[3] / "data" / "access.log"
TARGET = parse_target("http://[::1]:8080/counter/")


def taken_apart(request: bytes) -> tuple[str, dict[str, str], dict[str, str]]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Content-Length"] == str(len(body))
    return first, headers, json.loads(body)


def views(token: str = "", sites: tuple[str, ...] = ("demo",)) -> Views:
    return Views(TARGET, sites, run="abcdefghijkl", visitors=50, pages=20, token=token)


def test_a_view_is_a_whole_request_under_the_prefix_of_the_address() -> None:
    first, headers, body = taken_apart(views().request(7))
    assert first == "POST /counter/v1/views HTTP/1.1"
    assert headers["Host"] == "[::1]:8080"
    assert headers["X-Forwarded-For"].startswith("198.18.")
    assert body["site"] == "demo"
    assert "visitor" not in body


def test_with_a_token_readers_are_named() -> None:
    _, headers, body = taken_apart(views("secret").request(7))
    assert headers["Authorization"] == "Bearer secret"
    assert body["visitor"].startswith("reader-")


def test_a_repeat_is_the_same_and_no_two_views_share_an_id() -> None:
    assert views().request(3) == views().request(3)
    ids = {taken_apart(views().request(n))[2]["id"] for n in range(1_000)}
    assert len(ids) == 1_000


def test_readers_pages_and_sites_are_drawn_evenly_and_a_site_named_twice_twice_as_often() -> None:
    source = views("secret", ("a", "a", "b"))
    drawn = [taken_apart(source.request(n))[2] for n in range(9_000)]
    sites = Counter(body["site"] for body in drawn)
    assert sites == Counter(source.site(n) for n in range(9_000))
    assert abs(sites["a"] - 6_000) < 60
    readers = Counter(body["visitor"] for body in drawn)
    pages = Counter(body["page"] for body in drawn)
    assert (len(readers), len(pages)) == (50, 20)
    assert max(readers.values()) < 1.2 * 180
    assert max(pages.values()) < 1.2 * 450
    assert len({(body["visitor"], body["page"]) for body in drawn}) > 800


def test_every_reader_has_an_address_of_his_own() -> None:
    numbers = [0, 1, 65_535, 65_536, 131_071, 131_072, 131_073, 1 << 31]
    assert len({address(number) for number in numbers}) == len(numbers)
    assert address(131_071) == b"198.19.255.255"
    assert address(131_072) == b"2001:db8:2:0::1"


def test_a_log_is_replayed_with_its_pages_addresses_and_agents() -> None:
    lines = read_replay(LOG)
    assert 1_000 < len(lines) < 3_000
    assert not any(line.page.endswith((".png", ".css", ".js")) for line in lines)
    replay = Replay(TARGET, "demo", lines, run="abcdefghijkl")
    _, headers, body = taken_apart(replay.request(len(lines) + 2))
    assert headers["X-Forwarded-For"] == lines[2].address
    assert headers["User-Agent"] == lines[2].agent
    assert body["page"] == lines[2].page


def test_only_page_views_that_were_answered_are_replayed() -> None:
    start, agent = '192.0.2.1 - - [17/May/2015:10:05:03 +0000] "', ' 12 "-" "Mozilla/5.0"'
    found = page_views(
        [
            start + 'GET /a?b=1 HTTP/1.1" 200' + agent,
            start + 'GET /a HTTP/1.1" 304 -',
            start + 'POST /a HTTP/1.1" 200' + agent,
            start + 'GET /a HTTP/1.1" 404' + agent,
            start + 'GET /a.PNG?v=2 HTTP/1.1" 200' + agent,
            "nonsense",
        ]
    )
    assert [(line.page, line.agent) for line in found] == [("/a?b=1", "Mozilla/5.0"), ("/a", "")]


def test_a_log_without_page_views_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.log").write_text("nonsense\n")
    with pytest.raises(SettingsError, match="no page view"):
        read_replay(tmp_path / "empty.log")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_replay(tmp_path / "absent.log")


@pytest.mark.parametrize("url", ["", "demo", "ftp://a/", "http://", "http://a:99999", "http://a:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        parse_target(url)
