"""What a benchmark says while it runs: one line a step, with the time since the start."""

import sys

from trinity.clock import NS_PER_SECOND, Clock


class Progress:
    """Counts steps; the lines go to stderr, so that stdout holds the results only."""

    def __init__(self, clock: Clock, quiet: bool = False) -> None:
        self._clock = clock
        self._quiet = quiet
        self._started_ns = clock.monotonic_ns()

    def step(self, what: str) -> None:
        """Say what begins now, and how long the run has taken so far."""
        if self._quiet:
            return
        seconds = (self._clock.monotonic_ns() - self._started_ns) / NS_PER_SECOND
        print(f"[{seconds:6.1f} s] {what}", file=sys.stderr, flush=True)
