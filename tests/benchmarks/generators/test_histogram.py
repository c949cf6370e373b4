"""The histogram against the `hdrhistogram` package, which nobody here wrote."""

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.generators.histogram import COUNTERS, VALUE_NS_MAX, Latencies, highest_value_at, lowest_value_at, record

VALUES = st.lists(st.integers(1, VALUE_NS_MAX), min_size=1, max_size=200)


@pytest.mark.uncompiled
@settings(max_examples=50, deadline=None)
@given(values=VALUES, percentile=st.floats(0.1, 100.0))
def test_every_percentile_equals_the_foreign_package(values: list[int], percentile: float) -> None:
    """Our percentile is the foreign histogram's, for any values and any percentile."""
    ours = Latencies()
    foreign = HdrHistogram(1, VALUE_NS_MAX, 3)
    for value in values:
        record(ours.counts, value)
        foreign.record_value(value)
    assert ours.percentile_ns(percentile) == foreign.get_value_at_percentile(percentile)


@pytest.mark.uncompiled
@settings(max_examples=200, deadline=None)
@given(value=st.integers(0, VALUE_NS_MAX))
def test_a_value_lands_in_the_counter_whose_range_holds_it(value: int) -> None:
    """The counter's range holds the value and is narrower than a thousandth of it."""
    ours = Latencies()
    record(ours.counts, value)
    (index,) = ours.counts.nonzero()[0]
    assert lowest_value_at(index) <= value <= highest_value_at(index)
    assert highest_value_at(index) - lowest_value_at(index) <= value / 1_000


@pytest.mark.uncompiled
def test_values_beyond_both_ends_are_counted_at_the_ends() -> None:
    """A negative value counts as 0 and one above the highest as the highest: nothing is lost, nothing raises."""
    ours = Latencies()
    record(ours.counts, -5)
    record(ours.counts, VALUE_NS_MAX * 3)
    assert ours.total == 2
    assert ours.counts[0] == 1
    assert ours.percentile_ns(100.0) >= VALUE_NS_MAX
    assert ours.counts.size == COUNTERS


@pytest.mark.uncompiled
def test_the_mean_is_within_a_thousandth_and_sums_add_up() -> None:
    """Two histograms added have the mean of all values."""
    first, second = Latencies(), Latencies()
    for value in range(1_000, 50_000, 7):
        record((first if value % 2 else second).counts, value)
    values = list(range(1_000, 50_000, 7))
    first.add(second)
    assert first.total == len(values)
    assert first.mean_ns() == pytest.approx(sum(values) / len(values), rel=0.001)


@pytest.mark.uncompiled
def test_an_empty_histogram_says_zero() -> None:
    """Without values every figure is 0 instead of an error."""
    assert Latencies().summary_us() == {"p50": 0, "p90": 0, "p99": 0, "p99.9": 0, "mean": 0, "max": 0}
