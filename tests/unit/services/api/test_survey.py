"""What is watched without anybody asking: readers online, late numbers, books that do not close."""

from __future__ import annotations

import pytest

from services.api import lane, survey
from services.runtime.clock import now_ms
from tests.support.api import Api
from tests.support.logs import view
from visits.errors import StoreUnavailableError


def number(api: Api, name: str) -> float | None:
    return api.registry.get_sample_value(f"visit_counter_{name}")


async def add_to_pages(api: Api, amount: int) -> None:
    """Change a number behind the aggregator's back."""
    statement = "UPDATE page SET views = views + ?"
    await api.store._file.write(
        lambda connection: connection.execute(statement, (amount,)), StoreUnavailableError
    )


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "TRY_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(lane, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(lane, "FRESH_TIMES", 0)


async def test_readers_of_all_sites_are_added_up(api: Api) -> None:
    """Of the last minutes, whichever site they are on; a site whose numbers are late is told apart from none."""
    await api.part._survey.ask_who_is_online()
    assert (number(api, "online_readers"), number(api, "late_sites")) == (0, 1)
    now = now_ms()
    await api.count(
        view(now, id="event-1", site="demo", visitor="a" * 16),
        view(now, id="event-2", site="demo", visitor="b" * 16),
        view(now - 600_000, id="event-3", site="demo", visitor="c" * 16, received=now),
    )
    await api.part._survey.ask_who_is_online()
    assert (number(api, "online_readers"), number(api, "late_sites")) == (2, 0)
    age = number(api, "reading_age_seconds")
    assert age is not None
    assert age < 60


async def test_late_numbers_are_told(api: Api) -> None:
    """Readers are then those of the moment for which the numbers hold."""
    past = now_ms() - 3_600_000
    await api.count(view(past, id="event-1", site="demo", visitor="a" * 16), at=past)
    await api.part._survey.ask_who_is_online()
    assert (number(api, "online_readers"), number(api, "late_sites")) == (1, 1)


async def test_books_that_do_not_close_are_told_until_they_do(api: Api) -> None:
    """The metric has the difference, /readyz?verbose the site."""
    await api.count(view(id="event-1", site="demo"))
    site = api.configuration.sites["demo"]
    await api.part._survey.close_books(site)
    assert (number(api, "balance_difference_views"), number(api, "balance_open_sites")) == (0, 0)
    checked = number(api, "balance_checked_timestamp_seconds")
    assert checked is not None
    assert abs(checked - now_ms() / 1000) < 60
    for amount, difference, is_told in ((3, 3, True), (-3, 0, False)):
        await add_to_pages(api, amount)
        await api.part._survey.close_books(site)
        assert number(api, "balance_difference_views") == difference
        assert number(api, "balance_open_sites") == is_told
        assert ("demo" in api.health.notes.get("balance", "")) is is_told
