"""trinity/memory/segment.py"""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from trinity.errors import LayoutError, NodeRunningError
from trinity.memory.segment import Segment, process_start_ticks, remove_leftover


def test_a_created_segment_is_zero_and_can_be_attached(segment_name: str) -> None:
    """Creator and tool see the same words."""
    made = Segment.create(segment_name, 3, 0xABC, 100)
    assert made.body.size == 100
    assert not made.body.any()
    made.body[99] = 5
    seen = Segment.attach(segment_name, 3, 0xABC)
    assert int(seen.body[99]) == 5
    assert seen.owner_pid == os.getpid()
    seen.unlink()
    assert (Path("/dev/shm") / segment_name).exists(), "only the creator unlinks"
    made.unlink()
    assert not (Path("/dev/shm") / segment_name).exists()


@pytest.mark.parametrize(("version", "layout_hash", "what"), [(4, 0xABC, "layout version"), (3, 0xABD, "layout hash")])
def test_another_layout_is_refused(segment_name: str, version: int, layout_hash: int, what: str) -> None:
    """A second program of another layout cannot attach, so it cannot write either."""
    made = Segment.create(segment_name, 3, 0xABC, 8)
    with pytest.raises(LayoutError) as caught:
        Segment.attach(segment_name, version, layout_hash)
    assert caught.value.what == what
    made.unlink()


def test_memory_that_is_not_ours_is_refused(segment_name: str) -> None:
    """A file without our magic is a layout error, not a table."""
    (Path("/dev/shm") / segment_name).write_bytes(b"x" * 4096)
    with pytest.raises(LayoutError) as caught:
        Segment.attach(segment_name, 1, 1)
    assert caught.value.what == "magic"


def _create_and_die(name: str) -> None:
    Segment.create(name, 1, 1, 8)
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_leftover_of_a_killed_owner_is_replaced(segment_name: str) -> None:
    """After SIGKILL of everything the next start is clean."""
    killed = multiprocessing.get_context("fork").Process(target=_create_and_die, args=(segment_name,))
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    assert (Path("/dev/shm") / segment_name).exists()
    again = Segment.create(segment_name, 1, 1, 8)
    assert again.owner_pid == os.getpid()
    again.unlink()


def _try_to_create(name: str, verdicts: "multiprocessing.SimpleQueue[int]") -> None:
    try:
        Segment.create(name, 1, 1, 8)
    except NodeRunningError as error:
        verdicts.put(error.owner_pid)
    else:
        verdicts.put(0)


def test_a_live_owner_is_respected(segment_name: str) -> None:
    """Two nodes of one name cannot share memory: the second start is refused and names the owner."""
    made = Segment.create(segment_name, 1, 1, 8)
    fork = multiprocessing.get_context("fork")
    verdicts = fork.SimpleQueue()
    second = fork.Process(target=_try_to_create, args=(segment_name, verdicts))
    second.start()
    assert verdicts.get() == os.getpid()
    second.join(30)
    made.unlink()


def test_nothing_to_remove_is_not_an_error(segment_name: str) -> None:
    """The first start of a machine finds no leftover."""
    assert not remove_leftover(segment_name)


def test_a_process_that_does_not_run_has_no_start_time() -> None:
    """A dead owner is told from a live one by its start time."""
    assert process_start_ticks(os.getpid()) is not None
    assert process_start_ticks(2**22 + 1) is None


def test_a_full_shared_memory_fails_at_creation(segment_name: str) -> None:
    """The failure comes at start, as an OSError, and leaves no name behind."""
    with pytest.raises(OSError):
        Segment.create(segment_name, 1, 1, 2**33)
    assert not (Path("/dev/shm") / segment_name).exists()
