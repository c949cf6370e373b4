"""Time as an argument: the only module that imports `time`.

Ages are differences of `monotonic_ns`, which all processes of one host share (CLOCK_MONOTONIC).
`wall_ns` (CLOCK_REALTIME) may jump: it is shown to people and compared with the exchanges' own time,
and never used for a time-out.
"""

import time
from typing import Protocol

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000


class Clock(Protocol):
    """Two readings in nanoseconds, and a wait; tests pass one that they move by hand."""

    def monotonic_ns(self) -> int: ...

    def wall_ns(self) -> int: ...

    def sleep_ns(self, duration_ns: int) -> None: ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def sleep_ns(self, duration_ns: int) -> None:
        time.sleep(duration_ns / NS_PER_SECOND)
