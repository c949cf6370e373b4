"""When to try again: at once first, then full jitter over a doubling window, and anew only after proven recovery.

Rules: pure; time and randomness are arguments. After a failure the next try is due at once when the time before it was
good, else after floor + uniform(0, min(cap - floor, base * 2**n)) seconds ("full jitter", AWS architecture blog). The
floor is what the peer's connection limits ask for. It is added and no lower bound, so that the tries of many clients
never fall together: not where the window is smaller than the floor, not at the cap, not after a wait that the peer
named. No try begins within the floor after the one before, the first retry included. One good message does not clear
the count: only good data for `reset_seconds` without a stall does, so that a peer which accepts and drops at once is
not hammered.
"""

from random import Random

from trinity.clock import NS_PER_SECOND
from trinity.limits import RECONNECT_BASE_SECONDS, RECONNECT_CAP_SECONDS, RECONNECT_RESET_SECONDS

# 0.5 s * 2**10 is beyond every cap in use; a larger exponent only makes larger integers.
_EXPONENT_MAX = 10


class Backoff:
    """The next due time of one thing that may fail; due at once when new."""

    def __init__(
        self,
        random: Random,
        floor_seconds: float,
        base_seconds: float = RECONNECT_BASE_SECONDS,
        cap_seconds: float = RECONNECT_CAP_SECONDS,
        reset_seconds: float = RECONNECT_RESET_SECONDS,
    ) -> None:
        assert floor_seconds < cap_seconds, "at the cap there would be no spread"
        self._random = random
        self._floor_seconds = floor_seconds
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._reset_ns = int(reset_seconds * NS_PER_SECOND)
        self._good_since_ns: int | None = None
        self._floor_ns = int(floor_seconds * NS_PER_SECOND)
        self.failures = 0
        self.due_ns = 0

    def is_due(self, now_ns: int) -> bool:
        return now_ns >= self.due_ns

    def on_try(self, now_ns: int) -> None:
        """A try begins: none other does within the floor."""
        self.due_ns = now_ns + self._floor_ns

    def on_failure(self, now_ns: int, at_least_seconds: float = 0.0) -> None:
        """Plan the next try; `at_least_seconds` is what the peer itself asked for (Retry-After, RFC 9110 10.2.3)."""
        self.due_ns = max(self.due_ns, now_ns + int(self._delay_seconds(at_least_seconds) * NS_PER_SECOND))
        self.failures += 1
        self._good_since_ns = None

    def on_good(self, now_ns: int) -> None:
        """Fresh data is flowing now; called again and again while it does."""
        if self._good_since_ns is None:
            self._good_since_ns = now_ns
        if now_ns - self._good_since_ns >= self._reset_ns:
            self.failures = 0

    def on_stall(self) -> None:
        """No fresh data is flowing: the good time starts anew."""
        self._good_since_ns = None

    def _delay_seconds(self, at_least_seconds: float) -> float:
        if self.failures == 0 and not at_least_seconds:
            return 0.0
        exponent = min(max(self.failures - 1, 0), _EXPONENT_MAX)
        window_seconds = min(self._cap_seconds - self._floor_seconds, self._base_seconds * 2**exponent)
        return max(self._floor_seconds, at_least_seconds) + self._random.uniform(0, window_seconds)
