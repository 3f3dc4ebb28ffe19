"""A batch and a question as keys and plain arguments of the scripts, and their replies as our types. Decides nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from services.backends.redis_key import Keys
from services.backends.redis_script import Argument
from visits.counters import DAY_MS
from visits.fence import Fence
from visits.page import OTHER
from visits.state import Batch, Head, IdWindow, Parameters, State, Wanted

_encoder = msgspec.json.Encoder()


class Call:
    """Keys and arguments of one call of a script, growing."""

    def __init__(self, keys: Keys, *arguments: Argument) -> None:
        """Begin with pointer and head."""
        self.keys = [keys.pointer, keys.head]
        self.arguments: list[Argument] = list(arguments)
        self._index = {key: number for number, key in enumerate(self.keys, start=1)}

    def add(self, name: str, key: str, values: list[Argument]) -> None:
        """Add an operation or a query on a key."""
        if key not in self._index:
            self.keys.append(key)
            self._index[key] = len(self.keys)
        self.arguments += [name, self._index[key], len(values)]
        self.arguments += values


def head_fields(log_id: str, parameters: Parameters) -> list[Argument]:
    """Return the fields of the head of a generation at position 0."""
    fields: dict[str, Argument] = {
        "log_id": log_id,
        "position": 0,
        "fingerprint": "",
        "as_of": 0,
        "log_time": 0,
        "id_window": _encoder.encode(IdWindow()),
        "parameters": _encoder.encode(parameters),
    }
    return _flat(fields)


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


def apply_call(keys: Keys, batch: Batch) -> Call:  # noqa: C901  # one loop a table, in the order of the step
    """Return the call that applies a batch: first what is removed, then what is added and set, then what is forgotten."""
    before, after = batch.before, batch.after
    call = Call(
        keys, batch.generation, _encoder.encode(batch.parameters), before.log_id, before.position, before.fingerprint,
        after.position, after.fingerprint, batch.as_of, batch.log_time, _encoder.encode(batch.id_window),
    )  # fmt: skip
    for site, gone in batch.pages_gone.items():
        call.add("del", keys.pages(site), list(gone))
    for site, days in batch.page_days_gone.items():
        for day, gone in days.items():
            call.add("del", keys.page_day(site, day), list(gone))
    for site, amounts in batch.counters.items():
        call.add("add", keys.counters(site), _flat(amounts))
    for site, amounts in batch.pages.items():
        _add_pages(call, keys.pages(site), amounts, batch.pages_gone.get(site, []))
    for site, by_day in batch.page_days.items():
        for day, amounts in by_day.items():
            gone = batch.page_days_gone.get(site, {}).get(day, [])
            _add_pages(call, keys.page_day(site, day), amounts, gone)
            call.add("score", keys.days, [f"{site}:{day}", day])
    for site, amounts in batch.books.items():
        call.add("add", keys.books(site), _flat(amounts))
    for site, entries in batch.ledger.items():
        call.add("set", keys.ledger(site), _flat(entries))
    for site, seen in batch.seen.items():
        call.add("score", keys.seen(site), _flat(seen))
        call.add("forget", keys.seen(site), [f"({batch.seen_before}"])
    if batch.ids:
        call.add("score", keys.ids, _flat(batch.ids))
    call.add("forget", keys.ids, [batch.ids_known_after])
    sites = sorted(batch.sites)
    if sites:
        call.add("member", keys.sites, list(sites))
    return call


def state_call(keys: Keys, generation: int, wanted: Wanted, days: range) -> Call:
    """Return the call that reads what a fold wants, in the order `read_state` takes the replies."""
    call = Call(keys, generation)
    if wanted.ids:
        call.add("zmscore", keys.ids, list(wanted.ids))
    for site, pseudonyms in wanted.seen.items():
        call.add("zmscore", keys.seen(site), list(pseudonyms))
    for site, pages in wanted.pages.items():
        call.add("hlen", keys.pages(site), [])
        if site in wanted.whole_pages:
            call.add("hgetall", keys.pages(site), [])
        else:
            call.add("hmget", keys.pages(site), list(pages))
    for site, ids in wanted.deltas.items():
        call.add("hmget", keys.ledger(site), list(ids))
    for site, fields in wanted.counters.items():
        if fields:
            call.add("hmget", keys.counters(site), list(fields))
    for site in wanted.whole_pages:
        for day in days:
            call.add("hgetall", keys.page_day(site, day), [])
    return call


def read_state(head: Head, wanted: Wanted, days: range, replies: list[Any]) -> State:
    """Read the replies to `state_call`."""
    state = State(head)
    left = iter(replies)
    if wanted.ids:
        state.ids = _scores(wanted.ids, next(left))
    for site, pseudonyms in wanted.seen.items():
        state.seen[site] = _scores(pseudonyms, next(left))
    for site, pages in wanted.pages.items():
        state.page_counts[site] = next(left)
        reply = next(left)
        is_whole = site in wanted.whole_pages
        state.pages[site] = amounts_of(reply) if is_whole else _amounts(pages, reply)
    for site, ids in wanted.deltas.items():
        state.deltas[site] = {
            event_id for event_id, entry in zip(ids, next(left), strict=True) if entry is not None
        }
    for site, fields in wanted.counters.items():
        if fields:
            state.counters[site] = _amounts(fields, next(left))
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


def _add_pages(call: Call, key: str, amounts: dict[str, int], gone: list[str]) -> None:
    """Add views to pages; a page removed in the same step begins anew."""
    removed = set(gone) - {OTHER}
    anew = {page: n for page, n in amounts.items() if page in removed}
    kept = {page: n for page, n in amounts.items() if page not in removed}
    if anew:
        call.add("set", key, _flat(anew))
    if kept:
        call.add("add", key, _flat(kept))


def _flat(table: Any) -> list[Argument]:  # any mapping of arguments
    flat: list[Argument] = []
    for item in table.items():
        flat += item
    return flat


def _scores(members: list[bytes], reply: list[bytes | None]) -> dict[bytes, int]:
    return {
        member: int(float(score))
        for member, score in zip(members, reply, strict=True)
        if score is not None
    }


def _amounts(names: list[str], reply: list[bytes | None]) -> dict[str, int]:
    return {name: int(value) for name, value in zip(names, reply, strict=True) if value is not None}
