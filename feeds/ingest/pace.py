"""How soon to read again: the fewer reads, the less a frame costs. Pure; as a network card moderates its interrupts.

To be woken and to read costs some 25 us and more, a frame of it 1. While frames come closer together than READ_GAP_NS,
the next read begins no earlier than that after the last, and brings all that came meanwhile. So a busy exchange's frame
waits for half a millisecond on average, and a quiet one's is read the moment it is there.
"""

# 5,000 frames a second: 5 a read.
READ_GAP_NS = 1_000_000


class ReadPace:
    """The reads of one connection."""

    def __init__(self) -> None:
        self._read_at_ns = 0

    def wait_ns(self, read_at_ns: int, frames: int, now_ns: int) -> int:
        """How long to wait after a read that brought so many frames and was handled until now."""
        gap_ns = read_at_ns - self._read_at_ns
        self._read_at_ns = read_at_ns
        is_busy = gap_ns < READ_GAP_NS or (frames > 1 and gap_ns < 2 * READ_GAP_NS)
        return max(0, read_at_ns + READ_GAP_NS - now_ns) if is_busy else 0
