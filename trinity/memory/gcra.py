"""GCRA, the generic cell rate algorithm (ITU-T I.371): a rate limit in one word.

The word is the "theoretical arrival time" (TAT) in monotonic nanoseconds. Each request costs an interval, the rate's
seconds (rates.py) divided by its requests; the TAT may be ahead of now by `burst` of them. One that is not ahead has
expired: its caller may have the whole burst.

    next = max(TAT, now) + interval        admitted when next - now <= burst * interval; then TAT = next

Rules: exact across processes, because the word changes by compare-and-swap only; a refused request costs nothing.
The interval is rounded up to whole nanoseconds: never more than the rate, and at 1,000 requests a second at most a
millionth less. A TAT far beyond the bucket is of other terms (a smaller plan now, another boot) and is cut to a full
bucket: nobody waits longer than their own plan says. "Far" is longer than a worker may live with an old time.
"""

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled, compiled_inline
from trinity.limits import HEARTBEAT_AGE_MAX_NS, LIMIT_TRIES_MAX
from trinity.memory.atomics import Words, compare_and_swap, load_acquire, signed
from trinity.rates import REQUESTS_MASK, SECONDS_SHIFT

Numbers = NDArray[np.int64]

# Words of what `consume` found.
RETRY_NS, REMAINING, FOUND_WORDS = range(3)

# A worker whose time is older than this was killed by the supervisor.
_FOREIGN_NS = 2 * HEARTBEAT_AGE_MAX_NS
# The largest bucket, 73 years: a monotonic time and two of them fit a word. Who sets terms cuts bursts to it.
BUCKET_NS_MAX = 2**61


@compiled
def consume(words: Words, at: int, now_ns: int, rate: int, burst: int, found: Numbers) -> bool:
    """Consume one request of the limit in `words[at]`; False when it must wait `found[RETRY_NS]`.

    `found[REMAINING]` requests are left at once.
    """
    interval_ns = interval_of(rate)
    return consume_interval(words, at, now_ns, interval_ns, burst * interval_ns, found)


@compiled_inline
def interval_of(rate: int) -> int:
    """What one request costs, in nanoseconds."""
    requests = rate & REQUESTS_MASK
    return (NS_PER_SECOND * ((rate >> SECONDS_SHIFT) + 1) + requests - 1) // requests


@compiled
def consume_interval(words: Words, at: int, now_ns: int, interval_ns: int, bucket_ns: int, found: Numbers) -> bool:
    """As `consume`, of a rate and a burst that are said in nanoseconds."""
    found[REMAINING] = 0
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(words, at)
        ahead_ns = max(signed(word) - now_ns, 0)
        if ahead_ns > bucket_ns + _FOREIGN_NS:
            if not compare_and_swap(words, at, word, now_ns + bucket_ns):
                continue
            ahead_ns = bucket_ns
        if ahead_ns + interval_ns > bucket_ns:
            found[RETRY_NS] = ahead_ns + interval_ns - bucket_ns
            return False
        if compare_and_swap(words, at, word, now_ns + ahead_ns + interval_ns):
            found[RETRY_NS] = 0
            found[REMAINING] = (bucket_ns - ahead_ns - interval_ns) // interval_ns
            return True
    found[RETRY_NS] = interval_ns
    return False
