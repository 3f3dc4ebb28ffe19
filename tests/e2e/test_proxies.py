"""Real proxies with the lines of docs/proxy.md before the product: addresses, streams, and a page in a real browser."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser

from tests.support.load import HUMAN
from tests.support.process import http_get
from tests.support.proxy import PREFIX, Proxy, has_program
from tests.support.visit_counter import Service, write_config

PAGE = (
    '<!doctype html><html lang="vi"><meta charset="utf-8"><title>t</title>'
    f'<script async src="{PREFIX}/widget/v1.js" data-site="SITE"></script><visit-counter></visit-counter>'
)
INCLUDE = f'<!--#include virtual="{PREFIX}/v1/sites/SITE/fragment.html" -->'
KINDS = ("nginx", "nginx split", "apache", "caddy")
FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
WAIT_SECONDS = 15


def site_of(kind: str) -> str:
    """Return the site that is counted through a proxy: one each, on one started system."""
    return kind.replace(" ", "-")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The product, as docs/proxy.md sets it up."""
    directory = tmp_path_factory.mktemp("service")
    url = f"sqlite:{directory / 'visit-counter.db'}"
    config = write_config(
        directory / "visit-counter.toml",
        url,
        url,
        {site_of(kind): {"metric": "views"} for kind in (*KINDS, "direct")},
        server={"trusted_proxies": ["127.0.0.1/32"], "root_path": PREFIX},
    )
    with Service("up", config, directory=directory) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def proxy(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy before it, which serves a portal's page too."""
    kind: str = request.param
    if kind == "caddy" and not has_program(kind):
        pytest.skip("this system's packages have no Caddy")
    directory = tmp_path_factory.mktemp(site_of(kind))
    for folder in (directory, directory.parent, directory.parent.parent):
        folder.chmod(0o755)  # proxies that are started by root serve as somebody else
    pages = directory / "pages"
    pages.mkdir()
    for name, text in (("index.html", PAGE), ("included.html", INCLUDE)):
        (pages / name).write_text(text.replace("SITE", site_of(kind)), encoding="utf-8")
    with Proxy(kind, service.port, pages, directory / "run") as running:
        yield running


def post_view(address: str, site: str, source: str, forwarded: str | None = None) -> str:
    """Send a view from an address of the loopback and return its position."""
    connection = http.client.HTTPConnection(
        address, timeout=WAIT_SECONDS, source_address=(source, 0)
    )
    headers = {"User-Agent": HUMAN} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    body = json.dumps({"site": site, "page": "/tin-tuc/bai-1"})
    connection.request("POST", f"{PREFIX}/v1/views", body, headers)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert answer.status == http.HTTPStatus.ACCEPTED, said
    return str(said["position"])


def total(base_url: str, site: str, metric: str, after: str) -> int:
    """Return a counter once a position is counted."""
    query = f"metric={metric}&after={after}"
    _, body = http_get(f"{base_url}/v1/sites/{site}/counters?{query}")
    said = json.loads(body)
    assert said["after"] is True
    return int(said["total"])


def test_clients_are_told_apart(proxy: Proxy) -> None:
    """Each reader counts under the address from which he reached the proxy, whatever he claims."""
    site = site_of(proxy.name)
    post_view(proxy.address, site, FIRST)
    post_view(proxy.address, site, FIRST, forwarded="203.0.113.9")
    post_view(proxy.address, site, FIRST, forwarded="127.0.0.1")
    post_view(proxy.address, site, SECOND)
    position = post_view(proxy.address, site, THIRD)
    base = proxy.base_url + PREFIX
    assert total(base, site, "views", position) == 5
    assert total(base, site, "visitors", position) == 3


def test_stream_goes_through_at_once(proxy: Proxy) -> None:
    """The numbers come when the stream is opened, and a view is told while it stands open."""
    site = site_of(proxy.name)
    connection = http.client.HTTPConnection(proxy.address, timeout=WAIT_SECONDS)
    connection.request("GET", f"{PREFIX}/v1/sites/{site}/stream?metric=views")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    before = next_event(answer)["total"]
    post_view(proxy.address, site, FIRST)
    assert next_event(answer)["total"] == before + 1
    connection.close()


async def test_page_shows_the_numbers(proxy: Proxy, browser: Browser) -> None:
    """A page of the portal counts and shows its panel, with nothing but addresses of its own host."""
    page = await (await browser.new_context(user_agent=HUMAN)).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(proxy.base_url + "/")
    await page.wait_for_function(
        "/Tổng số lượt xem: \\d+/.test(document.querySelector('visit-counter').shadowRoot.textContent)"
    )
    await page.wait_for_function(
        "(visitCounter.count.last || {answer: {}}).answer.counted === true"
    )
    assert all(url.startswith(proxy.base_url) for url in asked)
    await page.context.close()


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_fragment_is_included(proxy: Proxy) -> None:
    """A server-side include of nginx puts the panel into the page (docs/recipes/without-script.md)."""
    post_view(proxy.address, site_of(proxy.name), FIRST)
    _, page = http_get(f"{proxy.base_url}/included.html")
    assert b"#include" not in page
    assert "Tổng số lượt xem" in page.decode()


def test_prefix_that_a_proxy_leaves_on(service: Service) -> None:
    """With root_path the service answers under the prefix, too."""
    position = post_view(f"127.0.0.1:{service.port}", "direct", FIRST)
    assert total(service.base_url + PREFIX, "direct", "views", position) == 1
    assert total(service.base_url, "direct", "views", position) == 1


def next_event(answer: http.client.HTTPResponse) -> dict[str, int]:
    """Read a stream up to the end of its next event."""
    while True:
        line = answer.readline()
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            found: dict[str, int] = json.loads(line.removeprefix(b"data: "))
            return found
