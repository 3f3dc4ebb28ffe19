"""Deltas go into the log in bounded appends, again after a lost answer, and are looked up in the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from services.backends.memory import MemoryLog
from services.backends.port import BATCH_BYTES_MAX
from services.importer import writing
from services.importer.writing import APPEND_BYTES, TRIES_MAX, Writer, wait_counted
from visits.codec import decode_record
from visits.delta import LedgerEntry
from visits.errors import DeltaError, LogUnavailableError
from visits.record import VERSION, Delta


def delta(number: int, pages: int = 0, evidence: str = "e") -> Delta:
    named = {f"/{number}/{page:0100d}": 1 for page in range(pages)}
    return Delta(
        v=VERSION, site="a", id=f"import-{number:05d}", at=1, received=1, pages=named, evidence=evidence
    )  # fmt: skip


class Appends(MemoryLog):
    """A log that notes its appends, and loses the answers of some."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.lost = lost
        self.sizes: list[int] = []

    async def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int | None:
        self.sizes.append(sum(len(value) for _, value in records))
        position = await super().append(partition, records)
        if self.lost:
            self.lost -= 1
            raise LogUnavailableError("no answer came")
        return position


async def test_appends_are_bounded_and_groups_whole() -> None:
    """Small groups share an append; none is split; the order stays."""
    log = Appends()
    writer = Writer(log, "a")
    groups = [[delta(3 * n), delta(3 * n + 1, pages=n * 20), delta(3 * n + 2)] for n in range(60)]
    for group in groups:
        await writer.add(group)
    await writer.flush()
    await writer.flush()
    assert max(log.sizes) <= BATCH_BYTES_MAX
    assert max(log.sizes[:3]) > APPEND_BYTES * 0.9
    assert len(log.sizes) < len(groups)
    expected = [item.id for group in groups for item in group]
    assert [decode_record(record.value).id for record in log.records[0]] == expected
    assert list(writer.written) == expected


async def test_a_lost_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome is unknown and the ids count once, so the same is sent again; not without end."""
    monkeypatch.setattr(writing, "TRY_PAUSE_SECONDS", 0)
    log = Appends(lost=TRIES_MAX - 1)
    writer = Writer(log, "a")
    await writer.add([delta(1)])
    await writer.flush()
    assert len(log.sizes) == TRIES_MAX
    assert list(writer.written) == ["import-00001"]
    log.lost = TRIES_MAX
    await writer.add([delta(2)])
    with pytest.raises(LogUnavailableError):
        await writer.flush()


def entry(of: Delta, **values: str) -> LedgerEntry:
    counted = LedgerEntry(
        id=of.id, position=1, at=1, outcome="applied", metric="views", n=1, evidence=of.evidence
    )
    return msgspec.structs.replace(counted, **values)


async def test_counted_deltas_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the ledger has all; what it has not within the time is said."""
    monkeypatch.setattr(writing, "LOOK_SECONDS", 0)
    written = {item.id: item for item in map(delta, range(3))}
    ledger = [entry(item) for item in written.values()]
    looks = iter([[], ledger[:1], ledger[:2], ledger])

    async def read() -> Sequence[LedgerEntry]:
        return next(looks)

    assert await wait_counted(written, read) == 0
    monkeypatch.setattr(writing, "COUNTED_WITHIN_SECONDS", 0)

    async def read_some() -> Sequence[LedgerEntry]:
        return ledger[:2]

    assert await wait_counted(written, read_some) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"outcome": "refused", "reason": "too many"},
            "was refused, nothing of it counts: too many",
        ),
        (
            {"evidence": "other lines"},
            r"from other lines \(other lines\); run the same command again",
        ),
    ],
)
async def test_what_came_otherwise_is_an_error(values: dict[str, str], message: str) -> None:
    """A refused delta, and an id that another run has used meanwhile for other amounts."""

    async def read() -> Sequence[LedgerEntry]:
        return [entry(delta(1), **values)]

    with pytest.raises(DeltaError, match=message):
        await wait_counted({"import-00001": delta(1)}, read)
