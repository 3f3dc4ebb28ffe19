"""The fold and the independent oracle agree on drawn logs."""

from __future__ import annotations

from hypothesis import given, settings

from tests.support.dictstore import DictStore
from tests.support.logs import logs
from tests.support.oracle import count
from visits.codec import LogRecord
from visits.state import Parameters


@settings(max_examples=300, deadline=None)
@given(logs(size_max=40))
def test_the_fold_equals_the_oracle(log: list[LogRecord]) -> None:
    """Views, visits, visitors, pages, hours and refusals are what plain Python makes of the log."""
    log = [r for r in log if b'"kind":"delta"' not in r.value]
    # The oracle never forgets a reader; the fold does after 50 h of log time, which this law leaves out.
    parameters = Parameters(seen_ms=10**12)
    log = [LogRecord(position, r.timestamp, r.key, r.value) for position, r in enumerate(log)]
    store = DictStore(parameters)
    store.run(log, [])
    for site, expected in count(r.value for r in log).items():
        found = (store.total(site, "v"), store.total(site, "s"), store.total(site, "p"))
        assert found == (expected.views, expected.visits, expected.visitors)
        assert store.tables["pages"].get(site, {}) == expected.pages
        books = store.tables["books"].get(site, {})
        assert books.get("duplicate", 0) == expected.duplicates
        assert books.get("bot", 0) == expected.refused["bot"]
        hours = {
            int(f[2:]): n
            for f, n in store.tables["counters"].get(site, {}).items()
            if f.startswith("vb")
        }
        assert hours == expected.hours
