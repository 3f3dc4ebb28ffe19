"""Salts: made once, shared, put back, destroyed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.backends.sqlite import SqliteStore, open_sqlite
from services.ingest.salt import SaltKeeper
from visits.errors import StoreUnavailableError
from visits.window import local_day

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
HOUR = 3_600_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


MORNING = at("2026-11-24T02:00")  # 09:00 in Hanoi
EVENING = at("2026-11-24T07:00")  # 14:00, so that 12 h ahead is the 25th


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    log, opened = open_sqlite(tmp_path / "x.db")
    await opened.open()
    yield opened
    await opened.close()
    await log.close()


class Away(SqliteStore):
    """A store that does not answer."""

    def __init__(self) -> None:
        pass

    async def salts(self, days: Sequence[str]) -> dict[str, bytes]:
        raise StoreUnavailableError(f"away: {days}")


async def test_todays_salt_is_made_and_shared(store: SqliteStore) -> None:
    """Two processes come to the same salt; it is random and of full length."""
    one, other = SaltKeeper(store, lambda: {HANOI}), SaltKeeper(store, lambda: {HANOI})
    assert not one.is_ready(MORNING)
    await one.refresh(MORNING)
    await other.refresh(MORNING)
    assert one.is_ready(MORNING)
    salt = one.salt("2026-11-24")
    assert salt is not None
    assert len(salt) == 32
    assert other.salt("2026-11-24") == salt


async def test_tomorrows_is_made_twelve_hours_ahead(store: SqliteStore) -> None:
    """A store that is away at midnight stops nobody."""
    keeper = SaltKeeper(store, lambda: {HANOI})
    await keeper.refresh(MORNING)
    assert keeper.salt("2026-11-25") is None
    await keeper.refresh(EVENING)
    assert keeper.salt("2026-11-25") not in {None, keeper.salt("2026-11-24")}
    assert keeper.is_ready(EVENING + 12 * HOUR)


async def test_yesterdays_is_made_and_kept(store: SqliteStore) -> None:
    """A batch may bring yesterday's views into a system that began today; all of them go by one salt."""
    keeper = SaltKeeper(store, lambda: {HANOI})
    await keeper.refresh(MORNING)
    yesterdays = keeper.salt("2026-11-23")
    assert yesterdays not in {None, keeper.salt("2026-11-24")}
    assert keeper.salt("2026-11-22") is None
    todays = keeper.salt("2026-11-24")
    await keeper.refresh(MORNING + 24 * HOUR)
    assert keeper.salt("2026-11-23") is None
    assert keeper.salt("2026-11-24") == todays


async def test_every_event_of_the_last_24_hours_has_a_salt(store: SqliteStore) -> None:
    """After a day of 23 hours, 24 hours ago may be the day before yesterday."""
    zone = ZoneInfo("Europe/Berlin")
    keeper = SaltKeeper(store, lambda: {zone})
    # The clock went from 02:00 to 03:00 on 2026-03-29, which began at 23:00 UTC.
    now = at("2026-03-29T22:30")
    await keeper.refresh(now)
    assert local_day(now, zone).isoformat() == "2026-03-30"
    assert keeper.salt(local_day(now - 24 * HOUR, zone).isoformat()) is not None
    assert local_day(now - 24 * HOUR, zone).isoformat() == "2026-03-28"


async def test_what_the_store_lost_comes_back(store: SqliteStore) -> None:
    """After FLUSHALL readers keep their pseudonyms."""
    keeper = SaltKeeper(store, lambda: {HANOI})
    await keeper.refresh(MORNING)
    salt = keeper.salt("2026-11-24")
    await store.forget_salts("9999-12-31")
    assert await store.salts(["2026-11-24"]) == {}
    await keeper.refresh(MORNING + 2_000)
    assert await store.salts(["2026-11-24"]) == {"2026-11-24": salt}
    assert keeper.salt("2026-11-24") == salt


async def test_old_salts_are_destroyed(store: SqliteStore) -> None:
    """After 48 h a salt is neither in memory nor in the store."""
    keeper = SaltKeeper(store, lambda: {HANOI})
    await keeper.refresh(MORNING)
    await keeper.refresh(MORNING + 48 * HOUR)
    assert keeper.salt("2026-11-24") is None
    assert await store.salts(["2026-11-24"]) == {}
    assert keeper.salt("2026-11-26") is not None


async def test_every_zone_has_its_own_today(store: SqliteStore) -> None:
    """Sites on both sides of the date line are ready together."""
    zones = {ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago")}
    keeper = SaltKeeper(store, lambda: zones)
    now = at("2026-11-24T10:30")
    await keeper.refresh(now)
    assert keeper.is_ready(now)
    assert keeper.salt("2026-11-23") is not None
    assert keeper.salt("2026-11-25") is not None


async def test_not_ready_while_the_store_is_away() -> None:
    """Without today's salt nobody can be told apart."""
    keeper = SaltKeeper(Away(), lambda: {HANOI})
    with pytest.raises(StoreUnavailableError):
        await keeper.refresh(MORNING)
    assert not keeper.is_ready(MORNING)
