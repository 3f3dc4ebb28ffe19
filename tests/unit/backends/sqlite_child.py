"""A service that a test kills: appends and counts on one SQLite file for as long as it lives.

Prints `POSITION ID` once an append is acknowledged, `counted POSITION` once an apply is.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from services.backends.port import Applied, CounterStore, EventLog
from services.backends.sqlite import open_sqlite
from visits.codec import decode_batch, encode_record
from visits.fold import fold, wanted
from visits.record import VERSION, View
from visits.state import Parameters

APPEND_RECORDS = 7
BASE_MS = 1_764_000_000_000


async def main(path: Path, name: str) -> None:
    """Open the file and never end."""
    log, store = open_sqlite(path)
    await log.open()
    await store.open()
    await asyncio.gather(_append(log, name), _count(log, store))


async def _append(log: EventLog, name: str) -> None:
    for start in count(0, APPEND_RECORDS):
        ids = [f"{name}-{number:07d}" for number in range(start, start + APPEND_RECORDS)]
        first = await log.append(0, [(b"portal", _view(event_id)) for event_id in ids])
        assert first is not None
        for position, event_id in enumerate(ids, first):
            print(position, event_id)
        sys.stdout.flush()


async def _count(log: EventLog, store: CounterStore) -> None:
    head = await store.begin(0, await log.log_id(), Parameters())
    consumer = await log.consumer()
    await consumer.seek(0, head.fence.position)
    while True:
        for fetched in await consumer.fetch(1.0):
            if not fetched.records:
                continue
            decoded = decode_batch(fetched.records, 0, 1)
            state = await store.read_state(
                0, head.generation, wanted(decoded.records, head.parameters)
            )
            assert state is not None
            batch = fold(decoded, state)
            answer = await store.apply(0, batch)
            assert isinstance(answer, Applied), answer
            print("counted", batch.after.position, flush=True)


def _view(event_id: str) -> bytes:
    number = int(event_id.rsplit("-", 1)[1])
    at = BASE_MS + number * 1_000
    return encode_record(
        View(
            v=VERSION,
            site="portal",
            id=event_id,
            at=at,
            received=at,
            day="2025-11-24",
            page=f"/page/{number % 50}",
            visitor=f"{number % 900:016x}",
            previous=None,
            entry=True,
        )
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
