"""Reads what a run of records needs to know, one piece ahead of the one that is being decided.

While the store applies one piece, the next is decoded, and what it needs is asked for. Whatever the order in which the store gets to
it, the answer comes with its fence: it is carried over the batches that were decided since (`visits.carry`), or it is a miss.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from services.runtime.tracing import Span
from visits.carry import carry
from visits.codec import DecodedBatch, LogRecord, decode_batch
from visits.errors import VisitCounterError
from visits.fence import Fence
from visits.fold import wanted
from visits.state import Batch, State

if TYPE_CHECKING:
    from services.aggregator.partition import Dependencies

PIECE_RECORDS_MAX = 5_000
"""The most records decided at once: more make fewer but longer steps, in which the store serves no reader."""

TURNS_UNTIL_SENT = 5
"""How often the event loop must go round until a command has left: redis-py sends it from a task of its own, once it has a connection."""

CARRIED_MAX = 2
"""The most batches a state is carried over: the one on its way when it was asked for, and the one decided since."""


async def until_sent() -> None:
    """Let what was just begun leave for the store, before more records keep the process busy and the store idle."""
    for _ in range(TURNS_UNTIL_SENT):
        await asyncio.sleep(0)


class Piece(NamedTuple):
    """Records, and the state from which they are decided: `None` where the store stands elsewhere, then with its fence.

    Its span begins where its state is asked for, and ends where it is applied.
    """

    decoded: DecodedBatch
    state: State | None
    stored: Fence | None
    span: Span


class Ahead:
    """The pieces of one run of records, in order.

    Attributes:
        future: the record at which the run ends because a newer release wrote it.
    """

    def __init__(
        self,
        shared: Dependencies,
        partition: int,
        generation: int,
        fence: Fence,
        records: tuple[LogRecord, ...],
    ) -> None:
        """Take the records that follow `fence`; nothing is asked before `next`."""
        self.future: LogRecord | None = None
        self._shared = shared
        self._partition = partition
        self._generation = generation
        self._fence = fence
        self._left = deque(
            records[at : at + PIECE_RECORDS_MAX] for at in range(0, len(records), PIECE_RECORDS_MAX)
        )
        self._asked: deque[tuple[DecodedBatch, Span, asyncio.Task[State | None]]] = deque()
        self._decided: deque[Batch] = deque(maxlen=CARRIED_MAX)

    async def next(self) -> Piece | None:
        """Return the next piece with its state, and ask for the one after it; `None` at the end.

        Raises:
            StoreUnavailableError: the store does not answer.
            PartitionStoppedError: `store_corrupt`.
        """
        while len(self._asked) <= 1 and self._left:
            self._ask(self._left.popleft())
            await until_sent()
        if not self._asked:
            return None
        decoded, span, asking = self._asked.popleft()
        try:
            state = await asking
        except VisitCounterError as error:
            span.end(error)
            raise
        if state is None:
            return Piece(decoded, None, None, span)
        return Piece(decoded, self._carried(state), state.head.fence, span)

    def decided(self, batch: Batch) -> None:
        """Note what was decided of the latest piece."""
        self._decided.append(batch)
        self._fence = batch.after

    async def close(self) -> None:
        """Drop what was asked and not used."""
        tasks = [asking for _decoded, _span, asking in self._asked]
        self._asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, records: tuple[LogRecord, ...]) -> None:
        decoded = decode_batch(records, self._partition, self._shared.log.partitions)
        if decoded.future is not None:
            self.future = decoded.future
            self._left.clear()
        if decoded.end is not None:
            asked = wanted(decoded.records, self._shared.parameters)
            reading = self._shared.store.read_state(self._partition, self._generation, asked)
            span = self._shared.tracer.begin(
                "count",
                partition=self._partition,
                records=len(decoded.records),
                dead=len(decoded.dead),
                end=decoded.end.position,
            )
            self._asked.append((decoded, span, asyncio.ensure_future(reading)))

    def _carried(self, state: State) -> State | None:
        """Bring a state to the present fence; `None` where it does not lead there."""
        for batch in self._decided:
            if state.head.fence == batch.before:
                state = carry(state, batch)
        return state if state.head.fence == self._fence else None
