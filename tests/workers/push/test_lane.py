"""workers/push/lane.py: who may be sent to at once, and what is told of it when."""

import numpy as np
import pytest

from trinity.clock import NS_PER_SECOND
from workers.push.entries import BEGUN_DTYPE, NEVER, Begun
from workers.push.lane import DatagramLane, Sent
from workers.push.state import WELL_GAP_NS

S = NS_PER_SECOND
NOW, WALL = 1_000 * S, 1_767_225_600 * S
MOST = 100


def _begun(*rows: int, is_probe: bool = False) -> Begun:
    begun = np.zeros(len(rows), dtype=BEGUN_DTYPE)
    begun["row"], begun["is_probe"] = rows, is_probe
    return begun


def _lane(*rows: int) -> DatagramLane:
    lane = DatagramLane()
    for row in rows:
        lane.enter(row, 100 + row, 7 + row, NEVER, NEVER)
    return lane


def test_only_who_has_a_slot_goes_at_once() -> None:
    """Rows that nobody has entered, also beyond the table's end, are left to others."""
    lane = _lane(1, 700)
    begun = _begun(0, 1, 700, 5_000)
    assert lane.known(begun, NOW, WALL).tolist() == [False, True, True, False]
    assert lane.slots(begun[1:3]).tolist() == [8, 707]
    lane.leave(1)
    lane.leave(9_000)
    assert lane.known(begun, NOW, WALL).tolist() == [False, False, True, False]


def test_a_probe_goes_alone() -> None:
    """Whether a receiver that failed is well again is for the schedule to know."""
    assert not _lane(1).known(_begun(1, is_probe=True), NOW, WALL).any()


@pytest.mark.parametrize(("checked_ns", "signed_ns", "is_known"), [(1, 1, True), (0, 1, False), (1, 0, False)])
def test_an_address_and_a_secret_are_good_for_a_while(checked_ns: int, signed_ns: int, is_known: bool) -> None:
    """To the nanosecond; then they are looked at anew."""
    lane = _lane()
    lane.enter(3, 1, 0, NOW + checked_ns, WALL + signed_ns)
    assert lane.known(_begun(3), NOW, WALL).tolist() == [is_known]


def test_the_first_message_is_told_at_once_and_then_one_in_a_while() -> None:
    """And the last one in any case, so that nobody looks at an old state for longer than that."""
    lane = _lane(1)
    told = []
    for second in range(70):
        if second < 40:
            lane.sent(_begun(1), NOW + second * S, WALL + second * S)
        told += [(second, sent) for sent in lane.take_sent(NOW + second * S, MOST)]
    gap = WELL_GAP_NS // S
    assert told == [
        (0, Sent(101, 8, WALL)),
        (1 + gap, Sent(101, 8, WALL + (1 + gap) * S)),
        (2 + 2 * gap, Sent(101, 8, WALL + 39 * S)),
    ]


def test_of_too_much_to_tell_the_oldest_comes_first() -> None:
    """Nothing comes twice."""
    lane = _lane(*range(10))
    for row in reversed(range(10)):
        lane.sent(_begun(row), NOW - row * S, WALL)
    found = [[sent.id for sent in lane.take_sent(NOW, 4)] for _ in range(4)]
    assert [sorted(ids) for ids in found] == [[106, 107, 108, 109], [102, 103, 104, 105], [100, 101], []]


def test_a_row_that_is_another_one_now_begins_anew() -> None:
    """What was not told of the former one is never told of the new one; a new address alone changes nothing."""
    lane = _lane(1)
    lane.sent(_begun(1), NOW, WALL)
    lane.enter(1, 101, 8, NEVER, NEVER)
    assert [sent.id for sent in lane.take_sent(NOW, MOST)] == [101]
    lane.sent(_begun(1), NOW, WALL)
    lane.leave(1)
    lane.enter(1, 300, 8, NEVER, NEVER)
    assert lane.take_sent(NOW + WELL_GAP_NS, MOST) == []
    lane.sent(_begun(1), NOW, WALL)
    assert [sent.id for sent in lane.take_sent(NOW, MOST)] == [300]
