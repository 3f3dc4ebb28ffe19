"""A shadow is brought exactly where it is to be, and on from there."""

from __future__ import annotations

import pytest

from services.backends.memory import MemoryLog, MemoryStore
from services.runtime.backend import Backends
from services.upkeep.replay import Replay
from tests.unit.services.upkeep.pair import PARAMETERS, append, count, dumped, views


@pytest.mark.parametrize("steps", [(10, 30), (30,), (0, 1, 29, 30)])
async def test_a_replay_stops_where_it_is_told_and_goes_on(steps: tuple[int, ...]) -> None:
    """What was fetched and lay behind the end is fetched again; in the end the shadow equals what was counted live."""
    pair = Backends(MemoryLog(), MemoryStore())
    await count(pair, views(0, 30))
    replay = Replay(pair.log, pair.store.generations(), 0, PARAMETERS)
    await replay.start()
    for end in steps:
        await replay.up_to(end, lambda _position: None)
        assert replay.position == end
    (expected,) = await dumped(pair)
    assert await pair.store.generations().shadow().dump(0) == expected
    await append(pair, views(30, 5))
    await replay.up_to(35, lambda _position: None)
    assert replay.position == 35
    await replay.close()
