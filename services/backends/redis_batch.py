"""A batch and a question as keys and plain arguments of the scripts, and their replies as our types. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from services.backends.redis_key import Keys, Pair
from services.backends.redis_script import Argument
from visits.counters import COUNTER_MAX, DAY_MS, MINUTE_MS
from visits.fence import Fence
from visits.fold import ONLINE_MINUTES_MAX
from visits.page import OTHER
from visits.state import Batch, Head, IdWindow, Parameters, State, Wanted

MOMENT_BYTES = 6
"""A moment of `visits.record.MOMENT_MAX` milliseconds fits, and Redis keeps it in the smallest piece of memory."""

ONLINE_KEPT_MS = (ONLINE_MINUTES_MAX + 5) * MINUTE_MS
"""How long of log time readers are listed by moment; 5 min more than anybody may ask for."""

_encoder = msgspec.json.Encoder()
_packer = msgspec.msgpack.Encoder()


class Call:
    """Keys, operations and bytes of one call of a script, growing. What they mean stands in the scripts."""

    def __init__(self, keys: Keys, *arguments: Argument) -> None:
        """Begin with pointer and head."""
        self.keys = [keys.pointer, keys.head]
        self._arguments = arguments
        self._operations: list[tuple[str, int, object]] = []
        self._parts: list[bytes] = []
        self._length = 0
        self._index = {key: number for number, key in enumerate(self.keys, start=1)}

    @property
    def arguments(self) -> list[Argument]:
        """The script's arguments: few and large, since each costs client and server more than what it carries."""
        return [*self._arguments, _packer.encode(self._operations), b"".join(self._parts)]

    def declare(self, key: str) -> int:
        """Add a key the script touches; return its number."""
        number = self._index.get(key)
        if number is None:
            self.keys.append(key)
            number = self._index[key] = len(self.keys)
        return number

    def add(self, name: str, key: str, payload: object = ()) -> None:
        """Add an operation or a query on a key; no bytes in its payload, which the scripts cannot read."""
        self._operations.append((name, self.declare(key), payload))

    def add_bytes(self, name: str, key: str, part: bytes, *more: object) -> None:
        """Add an operation or a query on bytes: its payload says where they begin, counted from 1, how many they are, and more."""
        self.add(name, key, (self._length + 1, len(part), *more))
        self._parts.append(part)
        self._length += len(part)


def head_fields(log_id: str, parameters: Parameters) -> list[Argument]:
    """Return the fields of the head of a generation at position 0."""
    return fields_of(Head(0, Fence(log_id, 0, ""), 0, 0, IdWindow(), parameters))


def fields_of(head: Head) -> list[Argument]:
    """Return the fields of a head; its generation stands in its key."""
    fields: dict[str, Argument] = {
        "log_id": head.fence.log_id,
        "position": head.fence.position,
        "fingerprint": head.fence.fingerprint,
        "as_of": head.as_of,
        "log_time": head.log_time,
        "id_window": _encoder.encode(head.id_window),
        "parameters": _encoder.encode(head.parameters),
    }
    return list(chain.from_iterable(fields.items()))


def read_head(generation: int, reply: list[bytes]) -> Head | None:
    """Read a head from HGETALL's reply; `None` where there is none."""
    if not reply:
        return None
    fields = {reply[i].decode(): reply[i + 1] for i in range(0, len(reply), 2)}
    fence = Fence(
        fields["log_id"].decode(), int(fields["position"]), fields["fingerprint"].decode()
    )
    return Head(
        generation,
        fence,
        int(fields["as_of"]),
        int(fields["log_time"]),
        msgspec.json.decode(fields["id_window"], type=IdWindow),
        msgspec.json.decode(fields["parameters"], type=Parameters),
    )


def apply_call(keys: Keys, batch: Batch) -> Call:
    """Return the call that applies a batch: first what is removed, then what is added and set, then what is forgotten."""
    before, after = batch.before, batch.after
    call = Call(
        keys, batch.generation, _encoder.encode(batch.parameters), before.log_id, before.position, before.fingerprint,
        after.position, after.fingerprint, batch.as_of, batch.log_time, _encoder.encode(batch.id_window),
    )  # fmt: skip
    for key in (keys.turns, keys.ids):
        call.declare(key)
    _remove_pages(call, keys, batch)
    _add_amounts(call, keys, batch)
    for site, entries in batch.ledger.items():
        texts = [entry.decode() for entry in entries.values()]
        call.add("set", keys.ledger(site), (list(entries), texts))
    for site, seen in batch.seen.items():
        _note(call, keys.seen(site), seen, batch.seen_before - 1)
        call.add_bytes("recent", keys.online(site), _by_moment(seen))
        call.add("fade", keys.online(site), batch.log_time - ONLINE_KEPT_MS)
    if batch.ids:
        call.add_bytes("remember", keys.ids, _moments(batch.ids))
        call.add_bytes("queue", keys.id_queue, queued(batch.ids, batch.log_time))
    if batch.ids_again:
        call.add("again", keys.turns, batch.log_time)
    call.add("expire", keys.id_queue, batch.ids_known_after)
    sites = sorted(batch.sites)
    if sites:
        call.add("member", keys.sites, sites)
    return call


def _remove_pages(call: Call, keys: Keys, batch: Batch) -> None:
    for site, gone in batch.pages_gone.items():
        call.add("del", keys.pages(site), gone)
    for site, days in batch.page_days_gone.items():
        for day, gone in days.items():
            call.add("del", keys.page_day(site, day), gone)


def _add_amounts(call: Call, keys: Keys, batch: Batch) -> None:
    for site, amounts in batch.counters.items():
        call.add("add", keys.counters(site), _columns(amounts))
    for site, amounts in batch.pages.items():
        gone, before = batch.pages_gone.get(site, []), batch.pages_before.get(site, {})
        _add_pages(call, keys.pages(site), amounts, gone, before)
    tables: dict[str, int] = {}
    for site, by_day in batch.page_days.items():
        for day, amounts in by_day.items():
            gone = batch.page_days_gone.get(site, {}).get(day, [])
            _add_pages(call, keys.page_day(site, day), amounts, gone, {})
            tables[f"{site}:{day}"] = day
    if tables:
        call.add("score", keys.days, tables)
    for site, amounts in batch.books.items():
        call.add("add", keys.books(site), _columns(amounts))


def state_call(keys: Keys, generation: int, wanted: Wanted, days: range) -> Call:
    """Return the call that reads what a fold wants, in the order `read_state` takes the replies."""
    call = Call(keys, generation)
    if wanted.ids:
        call.add_bytes("moments", keys.ids, b"".join(wanted.ids))
    for site, pseudonyms in wanted.seen.items():
        _ask_moments(call, keys, keys.seen(site), pseudonyms)
    for site, pages in wanted.pages.items():
        call.add("hlen", keys.pages(site))
        if site in wanted.whole_pages:
            call.add("hgetall", keys.pages(site))
        else:
            call.add("fields", keys.pages(site), pages)
    for site, ids in wanted.deltas.items():
        call.add("fields", keys.ledger(site), ids)
    for site, fields in wanted.counters.items():
        if fields:
            call.add("fields", keys.counters(site), fields)
    for site in wanted.whole_pages:
        for day in days:
            call.add("hgetall", keys.page_day(site, day))
    return call


def read_state(head: Head, wanted: Wanted, days: range, replies: list[Any]) -> State:
    """Read the replies to `state_call`."""
    state = State(head)
    left = iter(replies)
    if wanted.ids:
        state.ids = _read_moments(next(left))
    for site in wanted.seen:
        state.seen[site] = _read_moments(next(left))
    for site, pages in wanted.pages.items():
        state.page_counts[site] = next(left)
        reply = next(left)
        is_whole = site in wanted.whole_pages
        state.pages[site] = amounts_of(reply) if is_whole else read_amounts(pages, reply)
    for site, ids in wanted.deltas.items():
        entries = chain.from_iterable(next(left))
        state.deltas[site] = {
            event_id for event_id, entry in zip(ids, entries, strict=True) if entry is not None
        }
    for site, fields in wanted.counters.items():
        if fields:
            state.counters[site] = read_amounts(fields, next(left))
    for site in wanted.whole_pages:
        found = {day: amounts_of(next(left)) for day in days}
        state.page_days[site] = {day: amounts for day, amounts in found.items() if amounts}
    return state


def kept_days(head: Head) -> range:
    """Return the local days whose views by page may be kept, with a day of room for zones ahead of UTC."""
    today = head.log_time // DAY_MS
    return range(today - head.parameters.page_days, today + 3)


def amounts_of(reply: list[bytes]) -> dict[str, int]:
    """Read HGETALL's reply as name → amount."""
    return {reply[i].decode(): int(reply[i + 1]) for i in range(0, len(reply), 2)}


def _add_pages(
    call: Call, key: str, amounts: dict[str, int], gone: list[str], before: dict[str, int]
) -> None:
    """Add views to pages: as a sum where it is known what there was; a page removed in the same step begins anew."""
    sums: dict[str, int] = {}
    added = amounts
    if before:
        added = {}
        for page, n in amounts.items():
            was = before.get(page)
            if was is None or was + n > COUNTER_MAX:
                added[page] = n
            else:
                sums[page] = was + n
    for page in gone:
        if page != OTHER and page in amounts:
            added = {name: n for name, n in added.items() if name != page}
            sums[page] = amounts[page]
    if sums:
        call.add("sum", key, _columns(sums))
    if added:
        call.add("add", key, _columns(added))


def _columns(amounts: dict[str, int]) -> tuple[list[str], list[int]]:
    return list(amounts), list(amounts.values())


def _note(call: Call, pair: Pair, table: Mapping[bytes, int], forgotten: int) -> None:
    """Set moments of members; those up to `forgotten` are known no more."""
    more = (call.declare(pair.second), pair.turn, forgotten, max(table.values()))
    call.add_bytes("note", pair.first, _moments(table), *more)


def _moments(table: Mapping[bytes, int]) -> bytes:
    """Lay members of 8 bytes and their moments of 6 side by side."""
    return b"".join([member + at.to_bytes(MOMENT_BYTES, "big") for member, at in table.items()])


def turn_of(written: int, newest: int, newest_of_other: int) -> bytes:
    """Return the state of a pair of tables, as `apply.lua` keeps it."""
    moments = (newest.to_bytes(MOMENT_BYTES, "big"), newest_of_other.to_bytes(MOMENT_BYTES, "big"))
    return bytes([written]) + b"".join(moments)


def newest_of(turn: bytes | None) -> int:
    """Return the newest moment in the table that is written; 0 where there is no state yet."""
    return 0 if turn is None else int.from_bytes(turn[1 : 1 + MOMENT_BYTES], "big")


def queued(members: Iterable[bytes], at: int) -> bytes:
    """Lay down members to be forgotten together."""
    return at.to_bytes(MOMENT_BYTES, "big") + b"".join(members)


def _by_moment(table: Mapping[bytes, int]) -> bytes:
    """Lay moments of 13 digits and their members of 8 bytes side by side."""
    return b"".join([b"%013d%b" % (at, member) for member, at in table.items()])


def _ask_moments(call: Call, keys: Keys, pair: Pair, members: Sequence[bytes]) -> None:
    more = (call.declare(pair.second), call.declare(keys.turns), pair.turn)
    call.add_bytes("moments", pair.first, b"".join(members), *more)


def _read_moments(reply: list[bytes]) -> dict[bytes, int]:
    """Read members and moments; where a member stands twice, the latter holds."""
    left = iter(reply)
    return {member: int.from_bytes(value, "big") for member, value in zip(left, left, strict=True)}


def read_amounts(names: Sequence[str], replies: Iterable[list[bytes | None]]) -> dict[str, int]:
    """Read the replies to `ask_fields` as name → amount."""
    return {
        name: int(value)
        for name, value in zip(names, chain.from_iterable(replies), strict=True)
        if value is not None
    }
