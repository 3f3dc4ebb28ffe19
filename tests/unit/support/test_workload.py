"""The drawn log is one that ingest could have written."""

from __future__ import annotations

from tests.support.workload import START, STEP_MS, Workload
from visits.codec import decode_record, encode_record
from visits.record import View


def test_every_record_is_a_view_as_the_codec_writes_it() -> None:
    """Text and codec agree byte for byte."""
    workload = Workload(5, 20)
    for number, (site, value) in enumerate(workload.draw(200)):
        record = decode_record(value)
        assert isinstance(record, View)
        assert (record.site, record.at) == (site, START + number * STEP_MS)
        assert encode_record(record) == value


def test_readers_come_back_and_all_sites_and_pages_are_read() -> None:
    """About three views a reader; the first site and page are read most."""
    drawn = [decode_record(value) for _, value in Workload(5, 20).draw(6_000)]
    views = [record for record in drawn if isinstance(record, View)]
    assert len({view.id for view in views}) == 6_000
    assert 1_800 < len({view.visitor for view in views}) < 2_200
    by_page = [sum(view.page.endswith(f"-{n}.html") for view in views) for n in range(20)]
    assert min(by_page) > 0
    assert max(by_page) == by_page[0]


def test_a_seed_draws_the_same_log_again() -> None:
    """Every run counts the same."""
    assert list(Workload(3, 3).draw(50)) == list(Workload(3, 3).draw(50))
