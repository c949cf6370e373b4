"""workers/push/state.py: since when a receiver fails, and what is written of it."""

from trinity.clock import NS_PER_SECOND
from workers.push.state import GIVEN_UP_FAILURES, GIVEN_UP_NS, TELL_AFTER_NS, WELL_GAP_NS, States

S = NS_PER_SECOND
NOW, WALL = 1_000 * S, 1_767_225_600 * S
MOST = 100


def _fail(states: States, now_ns: int, wall_ns: int = WALL) -> bool:
    return states.failed(1, now_ns, wall_ns, 7, 503, "refused_status", 10 * S)


def test_a_failure_is_written_at_once_and_a_success_seldom() -> None:
    """But for the first one: 1,000 deliveries a second that arrive are no 1,000 rows a second."""
    states = States()
    for second in range(-10, 20):
        states.arrived(1, NOW + second * S, WALL, 7, 200)
        assert len(states.take_rows(NOW + second * S, MOST)) == (second == -10)
    (row,) = states.take_rows(NOW - 9 * S + WELL_GAP_NS, MOST)
    assert (row.id, row.failing_since, row.failures, row.last_status, row.next_at) == (1, None, 0, 200, None)
    _fail(states, NOW + WELL_GAP_NS)
    (row,) = states.take_rows(NOW + WELL_GAP_NS, MOST)
    assert (row.failures, row.last_error, row.last_status) == (1, "refused_status", 503)
    assert row.failing_since is not None
    assert row.next_at is not None
    assert (row.next_at - row.failing_since).total_seconds() == 10


def test_a_receiver_is_given_up_after_five_days_of_failing() -> None:
    """Not earlier, and not by a wall clock that jumps a week ahead."""
    states = States()
    day = 86_400 * S
    assert not _fail(states, NOW)
    assert not _fail(states, NOW + 1, WALL + 7 * day)
    results = [_fail(states, NOW + hour * 3_600 * S) for hour in range(12, 120, 12)]
    assert not any(results)
    assert _fail(states, NOW + GIVEN_UP_NS)


def test_two_failures_with_a_week_of_silence_between_give_nobody_up() -> None:
    """A node that was off saw nothing of the time between."""
    states = States()
    _fail(states, NOW)
    assert not _fail(states, NOW + 2 * GIVEN_UP_NS)
    for _ in range(GIVEN_UP_FAILURES - 3):
        assert not _fail(states, NOW + 2 * GIVEN_UP_NS)
    assert _fail(states, NOW + 2 * GIVEN_UP_NS)


def test_one_success_ends_it() -> None:
    """The five days begin anew."""
    states = States()
    _fail(states, NOW)
    states.arrived(1, NOW + 1, WALL, 8, 200)
    assert not any(_fail(states, NOW + GIVEN_UP_NS + second) for second in range(20))


def test_owners_are_told_of_turns_and_not_of_each_failure() -> None:
    """After a minute of failing, once; of the recovery only if they were told; a hiccup is no news."""
    states = States()
    _fail(states, NOW)
    states.arrived(1, NOW + S, WALL, 8, 200)
    assert states.take_turns() == []
    for second in range(0, 300, 10):
        _fail(states, NOW + second * S)
    (turn,) = states.take_turns()
    assert (turn.id, turn.event_type, turn.error) == (1, "subscription.failing", "refused_status")
    states.arrived(1, NOW + 301 * S, WALL, 9, 200)
    (turn,) = states.take_turns()
    assert turn.event_type == "subscription.recovered"
    assert states.take_turns() == []


def test_what_was_known_of_a_receiver_goes_on_to_count() -> None:
    """A restart or another node is no reason to begin the five days anew, or to tell its owner twice."""
    states = States()
    states.restore(1, GIVEN_UP_NS - S, 400, NOW, WALL)
    assert not _fail(states, NOW)
    assert states.take_turns() == []
    assert _fail(states, NOW + S)
    assert TELL_AFTER_NS < GIVEN_UP_NS


def test_the_last_failure_of_what_is_served_no_more_is_still_written() -> None:
    """Whoever serves it next goes on from there; a success is no news any more."""
    states = States()
    _fail(states, NOW)
    for _ in range(2):
        states.arrived(2, NOW, WALL, 1, 200)
        states.take_rows(NOW, MOST)
    _fail(states, NOW)
    states.forget(1)
    states.forget(2)
    assert [row.id for row in states.take_rows(NOW + WELL_GAP_NS, MOST)] == [1]
    assert states.take_rows(NOW + WELL_GAP_NS, MOST) == []


def test_rows_come_in_batches() -> None:
    """None is lost and none comes twice."""
    states = States()
    for number in range(250):
        states.failed(number, NOW, WALL, 1, 0, "timeout", S)
    batches = [states.take_rows(NOW, MOST) for _ in range(4)]
    assert [len(batch) for batch in batches] == [100, 100, 50, 0]
    assert {row.id for batch in batches for row in batch} == set(range(250))
    assert batches[0][0].last_status is None


def test_what_went_as_datagrams_is_written_in_the_next_batch() -> None:
    """Whoever says so keeps the gap; a failure since then stays one, and no sequence goes back."""
    states = States()
    states.sent(1, WALL, 7)
    (row,) = states.take_rows(NOW, MOST)
    assert (row.last_sequence, row.failures, row.last_attempt_at) == (7, 0, row.last_success_at)
    states.failed(1, NOW, WALL + 5 * S, 9, 0, "send_failed", S)
    states.sent(1, WALL + 4 * S, 8)
    (row,) = states.take_rows(NOW, MOST)
    assert (row.last_sequence, row.failures, row.last_error) == (9, 1, "send_failed")
    assert row.last_success_at is not None
    assert row.last_attempt_at > row.last_success_at
    assert row.next_at is not None
    states.sent(1, WALL + 20 * S, 12)
    assert states.take_turns() == []
