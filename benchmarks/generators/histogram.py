"""HdrHistogram of latencies: compiled recording, percentiles with three significant digits.

The layout is that of HdrHistogram (Gil Tene): values below 2,048 ns have a counter each, every doubling above
shares 1,024 counters, so that no value is off by more than 1/1,024. Values above the highest are counted as the
highest. Checked against the `hdrhistogram` package in the tests.

It knows nothing of what it measures: values are nanoseconds, in and out.
"""

import math

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled

Counts = NDArray[np.int64]

# Three significant digits need 2,048 counters in the lowest bucket (2 * 10**3 rounded up to a power of two).
SUB_BUCKETS = 2_048
_HALF = SUB_BUCKETS // 2
_SUB_BUCKET_BITS = 11
# One minute: no run waits longer for an answer.
VALUE_NS_MAX = 60_000_000_000
BUCKETS = VALUE_NS_MAX.bit_length() - _SUB_BUCKET_BITS + 1
COUNTERS = (BUCKETS + 1) * _HALF

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Latencies:
    """A histogram; `counts` is what the compiled loops record into."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(COUNTERS, dtype=np.int64)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def add(self, other: "Latencies") -> None:
        """Count all of `other`'s values here too."""
        self.counts += other.counts

    def percentile_ns(self, percentile: float) -> int:
        """The value that `percentile` percent of all values do not exceed; 0 when there are none."""
        total = self.total
        if total == 0:
            return 0
        wanted = max(1, int(percentile / 100 * total + 0.5))
        index = int(np.searchsorted(np.cumsum(self.counts), wanted))
        return highest_value_at(index)

    def mean_ns(self) -> float:
        """Mean of the values, each taken at the middle of its counter's range."""
        total = self.total
        if total == 0:
            return 0.0
        indexes = np.flatnonzero(self.counts)
        middles = [(lowest_value_at(int(i)) + highest_value_at(int(i))) / 2 for i in indexes]
        return float(np.dot(middles, self.counts[indexes])) / total

    def summary_us(self) -> dict[str, float]:
        """Percentiles, mean and maximum in microseconds, for tables and JSON."""
        found = {f"p{percentile:g}": self.percentile_ns(percentile) / 1_000 for percentile in PERCENTILES}
        found["mean"] = round(self.mean_ns() / 1_000, 3)
        found["max"] = self.percentile_ns(100.0) / 1_000
        return found


@compiled
def record(counts: Counts, value_ns: int) -> None:
    """Count one value; below 0 counts as 0, above VALUE_NS_MAX as VALUE_NS_MAX."""
    value = min(max(value_ns, 0), VALUE_NS_MAX)
    # frexp's exponent is the number of bits of any whole number that a float64 holds exactly.
    bucket = math.frexp(float(value | (SUB_BUCKETS - 1)))[1] - _SUB_BUCKET_BITS
    counts[bucket * _HALF + (value >> bucket)] += 1


def lowest_value_at(index: int) -> int:
    """Smallest value that counter `index` counts."""
    bucket = max(0, index // _HALF - 1)
    return (index - bucket * _HALF) << bucket


def highest_value_at(index: int) -> int:
    """Largest value that counter `index` counts."""
    bucket = max(0, index // _HALF - 1)
    return ((index - bucket * _HALF + 1) << bucket) - 1
