"""trinity/memory/miss_queue.py"""

import os

import numpy as np
import pytest

from trinity.limits import MISS_QUEUE_ENTRIES
from trinity.memory.asset_table import name_words
from trinity.memory.miss_queue import Miss, MissQueues, MissWakes, ask_for

pytestmark = pytest.mark.uncompiled


def test_names_arrive_in_their_order_and_once() -> None:
    """Each process has its own queue."""
    queues = MissQueues.private(2)
    for i in range(3):
        assert ask_for(queues.queue(1), name_words(f"N{i}"), 7 + i, 100 + i)
    assert queues.take(0) == []
    assert queues.take(1) == [Miss(100 + i, f"N{i}", 7 + i) for i in range(3)]
    assert queues.take(1) == []


def test_a_full_queue_refuses_and_goes_on_when_it_was_read() -> None:
    """Nobody waits for the resolver; the positions go round and round."""
    queues, name = MissQueues.private(), name_words("A" * 16)
    for _ in range(3):
        taken = [ask_for(queues.queue(0), name, 1, at_ns) for at_ns in range(MISS_QUEUE_ENTRIES + 2)]
        assert taken == [True] * MISS_QUEUE_ENTRIES + [False] * 2
        assert [miss.asked_at_ns for miss in queues.take(0)] == list(range(MISS_QUEUE_ENTRIES))
    assert queues.queue(0)[1] == np.uint64(6)


def test_there_is_a_queue_for_each_who_asks(segment_name: str) -> None:
    """One process cannot write another's."""
    queues = MissQueues.create(segment_name, 2)
    assert queues.segment is not None
    assert MissQueues.attach(segment_name, 2).count == 2
    for asker in (-1, 2):
        with pytest.raises(IndexError):
            queues.queue(asker)
    queues.segment.unlink()


def test_everybody_has_an_eventfd_of_his_own() -> None:
    """A wake is heard by the one it is for."""
    wakes = MissWakes.create(2)
    os.eventfd_write(wakes.asker_fds[1], 1)
    assert os.eventfd_read(wakes.asker_fds[1]) == 1
    for fd in (wakes.resolver_fd, wakes.asker_fds[0]):
        with pytest.raises(BlockingIOError):
            os.eventfd_read(fd)
    for fd in (wakes.resolver_fd, *wakes.asker_fds):
        os.close(fd)
