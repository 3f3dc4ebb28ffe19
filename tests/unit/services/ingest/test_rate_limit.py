"""Token buckets."""

from __future__ import annotations

from services.ingest.rate_limit import RateLimiter

ONE = ("site", b"\x01")
OTHER = ("site", b"\x02")


def test_burst_then_rate() -> None:
    """A burst passes at once, then one every 1/rate seconds."""
    limiter = RateLimiter(2.0, 5)
    assert [limiter.wait_seconds(ONE, 0.0) for _ in range(5)] == [0.0] * 5
    assert limiter.wait_seconds(ONE, 0.0) == 0.5
    assert limiter.wait_seconds(ONE, 0.25) == 0.25
    assert limiter.wait_seconds(ONE, 0.5) == 0.0
    assert limiter.wait_seconds(ONE, 0.5) > 0.0


def test_clients_and_sites_do_not_share() -> None:
    """Each (site, network) has a bucket of its own."""
    limiter = RateLimiter(1.0, 1)
    assert limiter.wait_seconds(ONE, 0.0) == 0.0
    assert limiter.wait_seconds(OTHER, 0.0) == 0.0
    assert limiter.wait_seconds(("elsewhere", b"\x01"), 0.0) == 0.0
    assert limiter.wait_seconds(ONE, 0.0) > 0.0


def test_never_more_than_the_burst() -> None:
    """A day of silence saves no more than the burst."""
    limiter = RateLimiter(10.0, 3)
    limiter.wait_seconds(ONE, 0.0)
    passed = sum(limiter.wait_seconds(ONE, 86_400.0) == 0.0 for _ in range(10))
    assert passed == 3


def test_clock_that_goes_back_gives_nothing() -> None:
    """A moment in the past fills no bucket."""
    limiter = RateLimiter(1.0, 1)
    limiter.wait_seconds(ONE, 100.0)
    assert limiter.wait_seconds(ONE, 50.0) > 0.0


def test_zero_is_off() -> None:
    """A rate of 0 limits nothing and remembers nobody."""
    limiter = RateLimiter(0.0, 1)
    assert all(limiter.wait_seconds(ONE, 0.0) == 0.0 for _ in range(100))
    assert len(limiter) == 0


def test_forgets_the_bucket_used_longest_ago() -> None:
    """Memory is bounded; who was just here is not forgotten."""
    limiter = RateLimiter(1.0, 1, buckets_max=2)
    limiter.wait_seconds(ONE, 0.0)
    limiter.wait_seconds(OTHER, 0.0)
    assert limiter.wait_seconds(ONE, 0.0) > 0.0
    limiter.wait_seconds(("third", b""), 0.0)
    assert len(limiter) == 2
    assert limiter.wait_seconds(ONE, 0.0) > 0.0
    assert limiter.wait_seconds(OTHER, 0.0) == 0.0
