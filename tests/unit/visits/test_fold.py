"""What one event does: the rules of DESIGN 3.3 by example, at their edges."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.dictstore import DictStore
from tests.support.logs import NOON, as_log, ping, view
from visits.counters import DAY_MS, HOUR_MS, MINUTE_MS, Metric
from visits.delta import LedgerEntry
from visits.record import AMOUNT_MAX, VERSION, Delta, Probe, Record, Span, Tally
from visits.state import Parameters

MIDNIGHT = NOON + 12 * HOUR_MS
B = "00000000000000bb"


def count(*records: Record | bytes, parameters: Parameters | None = None) -> DictStore:
    """Fold records one by one into an empty store."""
    store = DictStore(parameters or Parameters())
    store.run(as_log(list(records)), list(range(len(records))))
    return store


def delta(delta_id: str, **values: object) -> Delta:
    given: dict[str, object] = {
        "v": VERSION,
        "site": "a",
        "id": delta_id,
        "at": NOON,
        "received": NOON,
        "metric": Metric.VISITS,
    }
    return Delta(**(given | values))  # type: ignore[arg-type]


def online(store: DictStore, at: int, minutes: int = 5) -> int:
    return sum(
        at - minutes * MINUTE_MS < seen <= at for seen in store.tables["seen"].get("a", {}).values()
    )


def entry(store: DictStore, delta_id: str) -> LedgerEntry:
    return msgspec.json.decode(store.tables["ledger"]["a"][delta_id], type=LedgerEntry)


@pytest.mark.parametrize(("gap", "visits"), [(30 * MINUTE_MS, 1), (30 * MINUTE_MS + 1, 2)])
def test_a_gap_above_thirty_minutes_begins_a_visit(gap: int, visits: int) -> None:
    """30:00.000 is the same visit, one millisecond more a new one."""
    store = count(view(NOON), view(NOON + gap))
    assert (store.total("a", "v"), store.total("a", "s"), store.total("a", "p")) == (2, visits, 1)


def test_an_event_older_than_the_last_never_begins_a_visit() -> None:
    """A late event belongs to the visit that is there already, and does not move the reader back."""
    store = count(view(NOON), view(NOON - 5 * HOUR_MS, received=NOON, id="late-event"))
    assert store.total("a", "s") == 1
    assert online(store, NOON) == 1


def test_the_same_id_within_an_hour_counts_once_and_after_it_again() -> None:
    """Known if and only if stored within the last hour of log time."""
    assert count(view(NOON, id="x" * 8), view(NOON + HOUR_MS, id="x" * 8)).total("a", "v") == 1
    assert count(view(NOON, id="x" * 8), view(NOON + HOUR_MS + 1, id="x" * 8)).total("a", "v") == 2


def test_the_same_id_on_two_sites_counts_on_both() -> None:
    """An id's scope is its site."""
    store = count(view(NOON, id="x" * 8), view(NOON, id="x" * 8, site="b"))
    assert (store.total("a", "v"), store.total("b", "v")) == (1, 1)


def test_more_ids_than_room_shorten_the_window_from_the_oldest() -> None:
    """The cap forgets the oldest slot, never the ids just remembered."""
    parameters = Parameters(ids_max=3)
    views = [view(NOON + n * 10_000, id=f"event-{n:03d}") for n in range(5)]
    again = [view(NOON + 50_000, id="event-000"), view(NOON + 50_001, id="event-004")]
    store = count(*views, *again, parameters=parameters)
    assert store.total("a", "v") == 6
    assert store.tables["books"]["a"]["duplicate"] == 1


def test_a_visit_across_midnight_is_one_and_nobody_is_online_twice() -> None:
    """The first event of the new day joins yesterday's visit, counts a visitor of the new day, and online stays 1."""
    before = view(MIDNIGHT - 60_000)
    after = view(MIDNIGHT + 60_000, visitor=B, previous="00000000000000aa")
    store = count(before, after)
    assert (store.total("a", "s"), store.total("a", "p")) == (1, 2)
    assert online(store, MIDNIGHT + 60_000) == 1


def test_online_does_not_jump_at_midnight_for_those_who_only_ping() -> None:
    """A reader who stays on a page over midnight stays online."""
    store = count(
        view(MIDNIGHT - 60_000), ping(MIDNIGHT + 60_000, visitor=B, previous="00000000000000aa")
    )
    assert online(store, MIDNIGHT + 5 * MINUTE_MS) == 1
    assert store.total("a", "p") == 1


def test_a_ping_keeps_a_visit_open_and_begins_none() -> None:
    """Pings move the last sign of life within 30 min, and nothing else."""
    store = count(view(NOON), ping(NOON + 20 * MINUTE_MS), view(NOON + 45 * MINUTE_MS))
    assert (store.total("a", "v"), store.total("a", "s")) == (2, 1)
    late = count(view(NOON), ping(NOON + 31 * MINUTE_MS), view(NOON + 45 * MINUTE_MS))
    assert late.total("a", "s") == 2
    assert count(ping(NOON)).tables["seen"].get("a", {}) == {}


def test_without_a_pseudonym_a_visit_is_an_entry() -> None:
    """DNT and GPC: views always, a visit where the reader came from elsewhere, never a visitor."""
    store = count(view(NOON, visitor=None, entry=True), view(NOON + 1, visitor=None))
    assert (store.total("a", "v"), store.total("a", "s"), store.total("a", "p")) == (2, 1, 0)


def test_pages_beyond_the_cap_go_to_other_in_log_order() -> None:
    """The first pages keep their counters, later ones share `(other)`; totals stay exact."""
    store = count(
        *(view(NOON + n, page=f"/{n}") for n in range(5)),
        view(NOON + 9, page="/0"),
        parameters=Parameters(pages_max=2),
    )
    assert store.tables["pages"]["a"] == {"/0": 2, "/1": 1, "(other)": 3}
    assert store.total("a", "v") == 6


def test_forget_pages_makes_room_and_keeps_the_sum() -> None:
    """After one forget-pages a new true article is counted under its own name."""
    invented = [view(NOON + n, page=f"/x/{n}") for n in range(3)]
    forget = delta("forget-1", metric=Metric.VIEWS, forget="/x/**")
    store = count(
        *invented, forget, view(NOON + 9, page="/bai-1"), parameters=Parameters(pages_max=3)
    )
    assert store.tables["pages"]["a"] == {"(other)": 3, "/bai-1": 1}
    day = next(iter(store.tables["page_days"]["a"].values()))
    assert day == {"(other)": 3, "/bai-1": 1}
    assert entry(store, "forget-1").forgotten == 3


def test_a_delta_counts_once_for_ever() -> None:
    """The ledger remembers ids for ever, so a repetition changes nothing."""
    one = delta("delta-01", spans=(Span(5),), pages={"/a": 7})
    store = count(one, view(NOON + 3 * DAY_MS), one)
    assert store.total("a", "s") == 6
    assert store.tables["pages"]["a"]["/a"] == 7
    assert entry(store, "delta-01").outcome == "applied"


@pytest.mark.parametrize(
    "values",
    [
        {"spans": (Span(-1),)},
        {"pages": {"/a": -1}},
        {"spans": (Span(1, NOON + 1, NOON + HOUR_MS),)},
        {"spans": (Span(1, NOON, NOON),)},
        {"spans": (Span(AMOUNT_MAX),) * 10_000},
        {"pages": {"not-a-path": 1}},
        {"forget": "no-slash"},
    ],
)
def test_a_delta_that_cannot_be_is_refused_whole_and_listed(values: dict[str, object]) -> None:
    """Nothing of it is counted, and the ledger says why."""
    store = count(delta("delta-02", **values))
    assert not any(store.tables["counters"].get("a", {}).values())
    assert store.tables["pages"].get("a", {}) == {}
    assert entry(store, "delta-02").outcome == "refused"
    assert entry(store, "delta-02").reason


def test_tallies_are_booked_once() -> None:
    """A tally that is in the log twice is booked once, by reason and day."""
    tally = Tally(
        v=VERSION,
        site="a",
        id="tally-01",
        at=NOON,
        received=NOON,
        day="2026-11-24",
        refused={"bot": 3},
    )
    store = count(tally, tally)
    assert store.tables["books"]["a"] == {"bot": 3, "2026-11-24:bot": 3}


def test_probes_change_no_number() -> None:
    """A probe goes all the way and changes nothing but the position."""
    store = count(Probe(v=VERSION, site="a", id="probe-01", at=NOON, received=NOON))
    assert not any(store.tables.values())
    assert store.head.fence.position == 1


def test_unreadable_records_are_passed_over() -> None:
    """The fence moves past them; what stands after them counts."""
    store = count(b"garbage", view(NOON), b"\xff")
    assert store.total("a", "v") == 1
    assert store.head.fence.position == 3
