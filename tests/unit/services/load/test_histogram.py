"""The laws of the histogram."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from services.load.histogram import MICROSECONDS_MAX, Histogram

durations = st.lists(st.integers(0, MICROSECONDS_MAX), min_size=1, max_size=300)


def filled(samples: list[int]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    return histogram


@given(durations, st.sampled_from([0.1, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_that_of_the_sorted_samples_and_at_most_0_8_percent_longer(
    samples: list[int], percent: float
) -> None:
    exact = sorted(samples)[max(1, math.ceil(len(samples) * percent / 100 - 1e-9)) - 1]
    found = filled(samples).percentile_us(percent)
    assert exact <= found <= exact * (1 + 1 / 128)


@given(durations, durations)
def test_adding_two_histograms_is_recording_all_samples_in_one(a: list[int], b: list[int]) -> None:
    added = filled(a)
    added.add(filled(b))
    whole = filled(a + b)
    assert list(added.filled()) == list(whole.filled())
    assert (added.count, added.sum_us, added.max_us) == (whole.count, whole.sum_us, whole.max_us)


def test_the_longest_is_exact_and_what_is_out_of_range_is_kept_at_the_edge() -> None:
    histogram = filled([-5, 1_234_567, MICROSECONDS_MAX + 9])
    assert histogram.percentile_us(1) == 0
    assert histogram.max_us == histogram.percentile_us(100) == MICROSECONDS_MAX
    assert Histogram().percentile_us(99) == 0
