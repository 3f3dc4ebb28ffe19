"""Where the CPU time of one event goes within the aggregator: every step of a piece by itself, in this process, without Redis.

Pieces as the aggregator takes them, of the busiest partition, against a state in dictionaries that has counted for a while. What is
left of "CPU an event, aggregator" of the benchmark `aggregator` is the event loop, the sockets and the replies.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import hiredis

from services.aggregator.ahead import PIECE_RECORDS_MAX
from services.backends.redis_batch import Call, apply_call, state_call
from services.backends.redis_key import Keys
from tests.support.bench import Bench
from tests.support.dictstore import DictStore
from tests.support.workload import Workload
from visits.carry import carry
from visits.codec import LogRecord, decode_batch
from visits.fold import fold, wanted
from visits.partition import partition_of
from visits.state import Parameters

PARTITIONS = 16
WARM_UP, MEASURED = 8, 8
"""Pieces."""

SIZES = ((1, 10), (1, 100_000), (1_000, 100_000))
KEYS = Keys(3, 1)

Answer = TypeVar("Answer")


def run(bench: Bench) -> None:
    """Measure every size in every round."""
    logs = {size: _log(*size) for size in SIZES}
    for _ in bench.rounds():
        for (sites, pages), (partition, pieces) in logs.items():
            steps = Steps(partition, DictStore(Parameters()))
            for number, piece in enumerate(pieces):
                if number == WARM_UP:
                    steps.taken.clear()
                steps.count(piece)
            for name, seconds in steps.taken.items():
                an_event = seconds / MEASURED / PIECE_RECORDS_MAX * 1e6
                bench.record(name, an_event, "µs", setup=f"sites {sites:,}, pages {pages:,}")


class Steps:
    """Counts pieces and takes the time of each step.

    Attributes:
        taken: step → seconds of CPU time so far.
    """

    def __init__(self, partition: int, store: DictStore) -> None:
        """Take an empty store."""
        self.taken: dict[str, float] = defaultdict(float)
        self._partition = partition
        self._store = store

    def count(self, piece: tuple[LogRecord, ...]) -> None:
        """Count one piece."""
        gc.collect()
        decoded = self._step(
            "decode the records", lambda: decode_batch(piece, self._partition, PARTITIONS)
        )
        asked = self._step("what to ask", lambda: wanted(decoded.records, Parameters()))
        self._step("lay out the question", lambda: _packed(state_call(KEYS, 1, asked, range(0))))
        state = self._store.read(asked)
        batch = self._step("fold", lambda: fold(decoded, state))
        self._step("lay out the batch", lambda: _packed(apply_call(KEYS, batch)))
        self._step("carry a state over it", lambda: carry(state, batch))
        assert self._store.apply(batch)

    def _step(self, name: str, function: Callable[[], Answer]) -> Answer:
        began = time.process_time()
        answer = function()
        self.taken[name] += time.process_time() - began
        return answer


def _packed(call: Call) -> bytes:
    keys = call.keys
    command: Any = ("EVALSHA", "0" * 40, len(keys), *keys, *call.arguments)
    packed: bytes = hiredis.pack_command(command)
    return packed


def _log(sites: int, pages: int) -> tuple[int, list[tuple[LogRecord, ...]]]:
    """Return the busiest partition and its pieces."""
    workload = Workload(sites, max(1, pages // sites))
    partition = partition_of(workload.sites[0], PARTITIONS)
    wanted_records = (WARM_UP + MEASURED) * PIECE_RECORDS_MAX
    records: list[LogRecord] = []
    while len(records) < wanted_records:
        for site, value in workload.draw(10_000):
            if partition_of(site, PARTITIONS) == partition:
                records.append(LogRecord(len(records), workload.now, site.encode(), value))
    starts = range(0, wanted_records, PIECE_RECORDS_MAX)
    return partition, [tuple(records[at : at + PIECE_RECORDS_MAX]) for at in starts]
