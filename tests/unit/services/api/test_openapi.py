"""The OpenAPI document says what the api answers: every route, with examples that have a real answer's members."""

from __future__ import annotations

from urllib.parse import unquote

from services.api.openapi import EXAMPLES
from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import view
from tests.unit.services.api.test_ledger import count_three

PATHS = {
    "counters": "/v1/sites/demo/counters",
    "pages": "/v1/sites/demo/pages",
    "top_pages": "/v1/sites/demo/pages/top",
    "history": "/v1/sites/demo/history",
    "ledger": "/v1/sites/demo/ledger",
    "balance": "/v1/sites/demo/balance",
}


async def test_examples_look_like_answers(api: Api) -> None:
    """Member by member, so that no example is left behind."""
    await count_three(api)
    await api.count(view(now_ms(), id="event-0001", site="demo", page="/a"))
    for name, path in PATHS.items():
        answer = (await api.get(path, "page=/a")).json
        example = EXAMPLES[name]
        assert answer.keys() == example.keys(), name
        for member in ("points", "entries", "checks", "days", "pages"):
            if isinstance(answer.get(member), list):
                first = answer[member][0].keys()
                assert first == example[member][0].keys(), (name, member)


async def test_every_route_has_an_example(api: Api) -> None:
    """Each GET of the api has a summary, a 200 with an example, and its problems."""
    document = (await api.get("/openapi.json")).json
    operations = {
        operation["get"]["operationId"]: operation["get"]
        for path, operation in document["paths"].items()
        if path.startswith(("/v1", "/widget"))
    }
    assert operations.keys() >= {*PATHS, "stream", "definitions", "widget"}
    for name, operation in operations.items():
        assert operation["description"], name
        assert "404" in operation["responses"]
        content = operation["responses"]["200"]["content"]
        examples = [kind for kind, shown in content.items() if "example" in shown]
        assert examples or name == "definitions", name
    history = operations["history"]
    assert "text/csv" in history["responses"]["200"]["content"]
    assert {p["name"] for p in history["parameters"]} == {
        "site", "metric", "interval", "from", "to", "format",
    }  # fmt: skip


async def test_head_answers_as_get_without_a_body(api: Api) -> None:
    """On every route, with the same tag."""
    await count_three(api)
    await api.count(view(now_ms(), id="event-0001", site="demo", page="/a"))
    for path in PATHS.values():
        got, head = await api.get(path), await api.get(path, method="HEAD")
        assert (head.status, head.headers["etag"]) == (200, got.headers["etag"]), path
        assert head.headers["access-control-allow-origin"] == "*"
        assert (await api.get(path, method="POST")).status == 405


HOSTILE = [
    "%00",
    "..%2F..%2Fetc",
    "%3Cscript%3E",
    "demo%27--",
    "%F0%9F%92%A9",
    "x" * 300,
    "demo%0D%0AX-A:%20b",
]


async def test_hostile_sites_are_unknown(api: Api) -> None:
    """Whatever stands for a site, the answer is a problem document that repeats no more than 63 characters of it."""
    await count_three(api)
    for site in HOSTILE:
        for route in ("counters", "history", "ledger", "balance", "pages/top"):
            answer = await api.get(f"/v1/sites/{unquote(site)}/{route}")
            assert answer.status == 404
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.body) < 500
            assert all("\n" not in value for value in answer.headers.values())


async def test_requests_and_their_time_are_measured(api: Api) -> None:
    """By route and class of status, refusals too; the age of the numbers grows from the last reading."""
    await api.count(view(now_ms(), id="event-0001", site="demo"))
    await api.get(PATHS["history"])
    await api.get(PATHS["history"], "interval=odd")
    await api.get("/v1/sites/nobody/history", method="HEAD")
    await api.get(PATHS["counters"])

    def value(name: str, **labels: str) -> float | None:
        return api.registry.get_sample_value(f"visit_counter_{name}", labels)

    assert value("api_requests_total", route="history", status="2xx") == 1
    assert value("api_requests_total", route="history", status="4xx") == 2
    assert value("api_request_seconds_count", route="history") == 3
    age = value("reading_age_seconds")
    assert age is not None
    assert 0 <= age < 60
