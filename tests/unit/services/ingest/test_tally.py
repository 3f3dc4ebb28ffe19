"""Tallies: written once, kept while it is not sure that they were."""

from __future__ import annotations

from collections.abc import Sequence

from services.backends.sqlite import SqliteLog
from services.ingest.batcher import Batcher
from services.ingest.tally import TallyBook
from visits.codec import decode_record
from visits.errors import LogUnavailableError
from visits.record import Tally
from visits.refusal import Refusal


class FlakyLog(SqliteLog):
    """A log in memory that loses its answers while `is_away`; what it was handed it has."""

    def __init__(self) -> None:
        self.tallies: list[Tally] = []
        self.is_away = False

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        del partition
        decoded = [decode_record(value) for _key, value in records]
        self.tallies += [record for record in decoded if isinstance(record, Tally)]
        if self.is_away:
            raise LogUnavailableError("the answer was lost")
        return 0


async def test_one_tally_a_site_and_day() -> None:
    """Refusals are added up by site, local day and reason."""
    log = FlakyLog()
    batcher = Batcher(log)
    book = TallyBook(batcher, lambda _site: 0)
    for reason in (Refusal.BOT, Refusal.BOT, Refusal.ORIGIN):
        book.add("one", "2026-11-24", reason)
    book.add("one", "2026-11-25", Refusal.BOT)
    book.add("two", "2026-11-24", Refusal.BOT)
    await book.flush(1_000)
    assert book.is_empty
    assert {(tally.site, tally.day): tally.refused for tally in log.tallies} == {
        ("one", "2026-11-24"): {"bot": 2, "origin": 1},
        ("one", "2026-11-25"): {"bot": 1},
        ("two", "2026-11-24"): {"bot": 1},
    }
    await batcher.close()


async def test_unsure_tally_is_sent_again_with_its_id() -> None:
    """After a lost answer the very same tally is sent again, so that the fold counts it once."""
    log = FlakyLog()
    batcher = Batcher(log)
    book = TallyBook(batcher, lambda _site: 0)
    book.add("one", "2026-11-24", Refusal.BOT)
    log.is_away = True
    await book.flush(1_000)
    assert not book.is_empty
    book.add("one", "2026-11-24", Refusal.BOT)
    log.is_away = False
    await book.flush(2_000)
    first, again, new = log.tallies
    assert first == again
    assert new.id != first.id
    assert new.refused == {"bot": 1}
    await batcher.close()


async def test_an_outage_takes_no_room() -> None:
    """While the log is away one tally a site and day waits; what is refused meanwhile is added up into the next."""
    log = FlakyLog()
    batcher = Batcher(log)
    book = TallyBook(batcher, lambda _site: 0)
    log.is_away = True
    for second in range(5):
        book.add("one", "2026-11-24", Refusal.BOT)
        await book.flush(second)
    assert len({tally.id for tally in log.tallies}) == 1
    log.is_away = False
    await book.flush(6)
    assert book.is_empty
    assert sum(tally.refused["bot"] for tally in {t.id: t for t in log.tallies}.values()) == 5
    await batcher.close()
