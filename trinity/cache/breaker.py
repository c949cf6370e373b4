"""When a cache that fails is left alone, and when it is tried again.

    closed      everybody asks; FAILURES_MAX failures in a row open it
    open        nobody asks, for a time that grows with each failed try (trinity/backoff.py), to REST_CAP_SECONDS
    half open   one asks; a good answer closes it, a failure opens it again

Rules: pure; time and randomness are arguments. A good answer closes it, whoever got it and whenever it was asked. The
one that tries may be lost (its task was cancelled): after TRY_NS_MAX another one tries, so that it never stays half
open. It needs no request that went well to recover: time alone lets one try.
"""

import enum
from random import Random

from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND

# One slow answer is no outage: a garbage collection, a fork of the server. Three in a row are.
FAILURES_MAX = 3
# The shared limits look at Valkey every 20 ms and must have it back within a second or two of its return.
REST_FLOOR_SECONDS, REST_BASE_SECONDS, REST_CAP_SECONDS = 0.05, 0.1, 1.0
# Longer than the longest time-out of any question.
TRY_NS_MAX = 30 * NS_PER_SECOND


class BreakerState(enum.IntEnum):
    """Of a circuit."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


class CircuitBreaker:
    """The circuit of one client."""

    def __init__(self, random: Random) -> None:
        self.state = BreakerState.CLOSED
        self._failures = 0
        self._backoff = Backoff(random, REST_FLOOR_SECONDS, REST_BASE_SECONDS, REST_CAP_SECONDS, reset_seconds=0)
        self._try_ends_ns = 0

    def allows(self, now_ns: int) -> bool:
        """Whether to ask now. In the open circuit's time one is told yes, and must say what came of it."""
        if self.state is BreakerState.CLOSED:
            return True
        due_ns = self._backoff.due_ns if self.state is BreakerState.OPEN else self._try_ends_ns
        if now_ns < due_ns:
            return False
        self.state = BreakerState.HALF_OPEN
        self._try_ends_ns = now_ns + TRY_NS_MAX
        return True

    def on_good(self, now_ns: int) -> None:
        """An answer came."""
        self.state = BreakerState.CLOSED
        self._failures = 0
        self._backoff.on_good(now_ns)

    def on_failure(self, now_ns: int) -> None:
        """None came. Of an open circuit it is nothing new: those that were under way when it opened fail as well."""
        if self.state is BreakerState.OPEN:
            return
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or self._failures >= FAILURES_MAX:
            self.state = BreakerState.OPEN
            self._backoff.on_failure(now_ns, REST_FLOOR_SECONDS)
