"""How many misses may go to the exchanges: a bucket of tokens for all of the node. Pure; time is an argument.

A key's own budget is the worker's (workers/request); this one bounds what all of them together can make the node ask.
"""

from trinity.clock import NS_PER_SECOND


class Budget:
    """`burst` at once, `rate` a second in the long run."""

    def __init__(self, rate: float, burst: int, now_ns: int) -> None:
        self._gap_ns = int(NS_PER_SECOND / rate)
        self._reach_ns = self._gap_ns * (burst - 1)
        self._due_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Whether one more is allowed now; it is counted if so."""
        if self._due_ns - now_ns > self._reach_ns:
            return False
        self._due_ns = max(self._due_ns, now_ns) + self._gap_ns
        return True
