"""A busy stream is read in steps, a quiet one at once."""

import pytest

from feeds.ingest.pace import READ_GAP_NS, ReadPace

HANDLING_NS = 40_000


def waits(frame_gap_ns: int, frames: int) -> tuple[list[int], int]:
    """How long each of a stream's frames waited for its read, and how many reads there were."""
    pace, now_ns, reads = ReadPace(), 10**9, 0
    times = [10**9 + i * frame_gap_ns for i in range(frames)]
    waited: list[int] = []
    while len(waited) < frames:
        now_ns = max(now_ns, times[len(waited)])
        read = [time_ns for time_ns in times[len(waited) :] if time_ns <= now_ns]
        waited += [now_ns - time_ns for time_ns in read]
        reads += 1
        done_ns = now_ns + HANDLING_NS
        now_ns = done_ns + pace.wait_ns(now_ns, len(read), done_ns)
    return waited, reads


@pytest.mark.parametrize("frame_gap_ns", [READ_GAP_NS, 2 * READ_GAP_NS, 100 * READ_GAP_NS])
def test_a_quiet_stream_waits_for_nothing(frame_gap_ns: int) -> None:
    """Each frame is read the moment that it is there."""
    waited, reads = waits(frame_gap_ns, 100)
    assert set(waited) == {0}
    assert reads == 100


@pytest.mark.parametrize("frames_a_gap", [2, 5, 20])
def test_a_busy_stream_is_read_once_a_gap(frames_a_gap: int) -> None:
    """A read brings all frames of a gap, and none waited for longer than that."""
    waited, reads = waits(READ_GAP_NS // frames_a_gap, 1000)
    assert reads <= 1000 // frames_a_gap + 3
    assert max(waited) <= READ_GAP_NS


def test_two_frames_at_once_after_a_pause_hold_nothing_up() -> None:
    """Only what goes on for longer than a gap is a busy stream."""
    pace = ReadPace()
    assert pace.wait_ns(10**9, 2, 10**9 + HANDLING_NS) == 0


def test_a_slow_reader_waits_no_more() -> None:
    """What took longer than the gap is followed by the next read at once."""
    pace = ReadPace()
    pace.wait_ns(10**9, 1, 10**9)
    assert pace.wait_ns(10**9 + 1000, 5, 10**9 + 1000 + 3 * READ_GAP_NS) == 0
