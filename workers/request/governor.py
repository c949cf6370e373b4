"""The governor: how much of what waits a worker takes, so that nobody it takes waits long. Pure, compiled.

A worker serves one thing at a time, so what is in flight is what waits: connections with a request, datagrams in the
socket's queue. A limit on them is a limit on the time that they wait. It is steered by that time alone, against a
target that the operator states; nothing is learned that a long overload could teach wrongly.

    note_delay(law, delay_ns, count)      so many waited so long, from readable to handled
    end_window(law, target_ns)            every 100 ms: p50 and p90 of the window, and the next limit
    limit_at(law, in_flight)              how many of those in flight are taken now
    share_out(limit, wanted, shares)      how many of each admission class

The laws, each of which holds for every history:

    the limit is never below one, so a worker always makes progress and an idle one always admits
    it recovers with time alone: a window in which nothing was answered raises it
    few samples never lower it, and neither does a tail without a queue (p90 over the target, p50 under half of it)
    it is never lower than what is done in half the target: a worker that the machine does not run for a while is late,
    and refusing would make nobody earlier
    it is at most five times what is in flight
    a class gives way before a higher one, down to its share

All of it is in floating point: microseconds times thousands a second are no whole numbers.
"""

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled, compiled_inline
from trinity.memory.admission_table import CLASSES

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

# A record and not arrays: compiled code then passes one pointer.
BUCKETS = 256
LAW_DTYPE = np.dtype(
    [
        ("learned", np.float64),  # the limit before the bound of FIVE_TIMES
        ("peak", np.float64),  # the most in flight at one time in this window
        ("samples", np.float64),
        ("p50_ns", np.float64),  # of the last window
        ("p90_ns", np.float64),
        ("last_peak", np.float64),
        ("delay", np.float64, 1),  # scratch: a delay, to be read as bits
        ("service_ns", np.float64),  # the median time of one, of the last window that had turns enough
        ("turns", np.float64),
        ("counts", np.int64, BUCKETS),  # of samples, by their delay
        ("turn_counts", np.int64, BUCKETS),  # of turns, by the time that one took in it
    ],
    align=True,
)

WINDOW_NS = 100_000_000
LIMIT_MIN, LIMIT_MAX = 1.0, 65_536.0
FIVE_TIMES = 5.0  # failsafe-go: a limit far above what is used says nothing, and would be long in coming down
# A percentile of fewer is chance.
SAMPLES_MIN = 20.0
# No window more than doubles the limit.
_GROW_MAX = 2.0
_GROW_FREELY = 1.25
# Of the way to the limit that the target asks for: the rest is the next window's, which has seen what this step did.
_SMOOTHING = 0.5
# A queue that stands shows in the median as well; a worker that was not run for a moment has a tail alone.
_STANDING = 0.5
# What is done in this share of the target is never refused ...
_LEAST = 0.5
# ... as far as the turns of a window say how long one takes: fewer may all have been interrupted.
_TURNS_MIN = 5.0

# A bucket is an eighth of an octave: the exponent and three bits of the mantissa of the delay as a float64.
_BUCKET_SHIFT = 49
_STEPS = 8
_LOWEST_EXPONENT = 6  # 64 ns; the highest bucket begins at 34 s
_FIRST_BUCKET = (1023 + _LOWEST_EXPONENT) * _STEPS

# What each class is sure of while it asks for it; what it leaves goes to the highest class that wants more.
SHARES = (0.05, 0.10, 0.25, 0.60)
assert len(SHARES) == CLASSES
assert sum(SHARES) <= 1.0 + 1e-9
_SHARES = np.array(SHARES, dtype=np.float64)


def make_law() -> np.void:
    """The law of a worker that has seen nothing: there is no limit yet."""
    law: np.void = np.zeros(1, dtype=LAW_DTYPE)[0]
    law["learned"] = LIMIT_MAX
    return law


@compiled_inline
def note_delay(law: np.void, delay_ns: float, count: int) -> None:
    """So many that came together waited so long."""
    law["counts"][_bucket_of(law, delay_ns)] += count
    law["samples"] += count


@compiled_inline
def note_service(law: np.void, service_ns: float) -> None:
    """In this turn one took so long on average."""
    law["turn_counts"][_bucket_of(law, service_ns)] += 1
    law["turns"] += 1.0


@compiled_inline
def note_in_flight(law: np.void, in_flight: int) -> None:
    """So many are in flight now."""
    if in_flight > law["peak"]:
        law["peak"] = in_flight


@compiled
def end_window(law: np.void, target_ns: float) -> None:
    """Take the window's percentiles, say the next limit, and begin a new window."""
    samples, peak = law["samples"], law["peak"]
    law["p50_ns"], law["p90_ns"] = _percentile(law["counts"], 0.5 * samples), _percentile(law["counts"], 0.9 * samples)
    if law["turns"] >= _TURNS_MIN:
        law["service_ns"] = _percentile(law["turn_counts"], 0.5 * law["turns"])
    learned = next_limit(law["learned"], peak, samples, law["p50_ns"], law["p90_ns"], target_ns)
    law["learned"] = max(learned, least_limit(law["service_ns"], target_ns))
    law["last_peak"] = peak
    law["peak"] = law["samples"] = law["turns"] = 0.0
    for bucket in range(BUCKETS):
        law["counts"][bucket] = law["turn_counts"][bucket] = 0


@compiled
def next_limit(
    learned: float, in_flight: float, samples: float, p50_ns: float, p90_ns: float, target_ns: float
) -> float:
    """The limit after a window in which up to `in_flight` waited at once and `samples` of them were handled."""
    if samples < SAMPLES_MIN:
        wanted = learned * _GROW_FREELY
    elif p90_ns > target_ns:
        if p50_ns <= _STANDING * target_ns:
            return learned  # a tail, and no queue
        if learned > in_flight:  # nothing held the queue back, so all of it was taken: go where the target is at once
            wanted = in_flight * target_ns / p90_ns
        else:
            wanted = learned * (1.0 + _SMOOTHING * (target_ns / p90_ns - 1.0))
    elif learned < in_flight:
        wanted = learned * min(1.0 + _SMOOTHING * (target_ns / max(p90_ns, 1.0) - 1.0), _GROW_MAX)
    else:
        wanted = learned * _GROW_FREELY
    return min(max(wanted, LIMIT_MIN), LIMIT_MAX)


@compiled
def least_limit(service_ns: float, target_ns: float) -> float:
    """As many as are done in half the target; one where nothing is known."""
    if service_ns <= 0.0:
        return LIMIT_MIN
    return min(max(_LEAST * target_ns / service_ns, LIMIT_MIN), LIMIT_MAX)


@compiled_inline
def limit_at(learned: float, in_flight: int) -> int:
    """How many of those in flight are taken: never none, never more than five times as many as there are."""
    return int(max(min(learned, FIVE_TIMES * in_flight), LIMIT_MIN))


@compiled
def share_out(limit: int, wanted: Counts, shares: Counts) -> None:
    """Divide the limit among the classes, of which `wanted` are in flight, into `shares`.

    Each has its share of the limit as far as it wants it; what is left goes to the highest classes first.
    """
    left = limit
    for which in range(CLASSES):
        shares[which] = min(wanted[which], int(_SHARES[which] * limit))
        left -= shares[which]
    for which in range(CLASSES - 1, -1, -1):
        more = min(left, wanted[which] - shares[which])
        shares[which] += more
        left -= more


@compiled_inline
def _bucket_of(law: np.void, value_ns: float) -> int:
    law["delay"][0] = max(value_ns, 1.0)
    bucket = (law["delay"].view(np.int64)[0] >> _BUCKET_SHIFT) - _FIRST_BUCKET
    return min(max(bucket, 0), BUCKETS - 1)  # type: ignore[no-any-return]


@compiled
def _percentile(counts: Counts, rank: float) -> float:
    """The middle of the bucket that so many reach; 0 for none."""
    seen = 0
    if rank <= 0.0:
        return 0.0
    for bucket in range(BUCKETS):
        seen += counts[bucket]
        if seen >= rank:
            octave, step = bucket // _STEPS, bucket % _STEPS
            return 2.0 ** (_LOWEST_EXPONENT + octave) * (1.0 + (step + 0.5) / _STEPS)
    return 0.0
