"""The definitions: complete in both languages, with the figures that the counters hold to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from services.api.words import NOT_COUNTED, NOTES, PERIODS, WORDS
from tests.support.api import Api
from visits.refusal import QUIET

PATH = "/v1/definitions"


@pytest.mark.parametrize("lang", ["vi", "en"])
async def test_everything_is_said_in_a_language(api: Api, lang: str) -> None:
    """Words, windows of both kinds, what is not counted and why, notes; no brace is left."""
    answer = await api.get(PATH, f"lang={lang}")
    body = answer.json
    assert body["words"].keys() == WORDS.keys()
    assert body["notes"].keys() == NOTES.keys()
    assert {line["reason"] for line in body["not_counted"]} == {str(name) for name in NOT_COUNTED}
    for windows in ("rolling", "calendar"):
        assert list(body["windows"][windows]) == ["today", "yesterday", "week", "month", "year"]
    assert not re.search(r"\{\w+\}", answer.body.decode())


def test_every_text_stands_in_both_languages() -> None:
    """None is left out, and none is said in the other's place."""
    texts: list[Any] = [*WORDS.values(), *NOT_COUNTED.values(), *NOTES.values()]
    texts += [text for periods in PERIODS.values() for text in periods.values()]
    for text in texts:
        assert text.keys() == {"vi", "en"}
        assert text["vi"] != text["en"]


def test_every_quiet_refusal_has_its_reason() -> None:
    """Whoever is answered `counted: false` finds out why."""
    assert set(NOT_COUNTED) > QUIET


async def test_figures_are_those_of_the_counters(api: Api) -> None:
    """They stand in the sentences and beside them."""
    body = (await api.get(PATH, "lang=en&site=demo")).json
    assert "above 30 minutes" in body["words"]["visit"]["meaning"]
    assert "last 5 minutes" in body["words"]["online"]["meaning"]
    assert (body["visit_gap_minutes"], body["id_window_minutes"], body["page_days"]) == (30, 60, 35)
    assert (body["pages_max"], body["bucket_minutes"]) == (200_000, 60)
    assert (body["site"]["timezone"], body["site"]["test"]) == ("Asia/Ho_Chi_Minh", False)


async def test_the_language_is_the_sites(api: Api) -> None:
    """Vietnamese where nobody says; unknown languages and sites are refused; unknown parameters are not."""
    assert (await api.get(PATH)).json["lang"] == "vi"
    assert (await api.get(PATH, "site=demo&else=1")).json["lang"] == "vi"
    assert (await api.get(PATH, "lang=fr")).status == 400
    assert (await api.get(PATH, "site=nobody")).status == 404
