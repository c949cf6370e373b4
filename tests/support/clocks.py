"""The clock of a test that says itself when time passes."""

from dataclasses import dataclass

from trinity.clock import NS_PER_SECOND

NOW_NS = 1_000 * NS_PER_SECOND
WALL_NS = 1_767_225_600 * NS_PER_SECOND  # the wall clock at NOW_NS: the first moment of 2026


@dataclass
class ManualClock:
    """Both clocks stand until the test moves them; the wall clock is `wall_offset_ns` ahead of the other."""

    now_ns: int = NOW_NS
    wall_offset_ns: int = WALL_NS - NOW_NS

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns + self.wall_offset_ns

    def sleep_ns(self, duration_ns: int) -> None:
        self.now_ns += duration_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_SECOND)
