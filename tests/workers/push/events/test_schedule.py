"""workers/push/events/schedule.py: what each answer means, and when an event is tried again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.push.events.schedule import DELAYS_S, JITTER, EventAnswer, judge


def test_an_event_that_never_arrives_is_tried_ten_times_in_three_days() -> None:
    """0, 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h: 75 hours in all, and then it has failed."""
    delays = [judge(EventAnswer(500), tries, Random(1)).next_in_s for tries in range(1, 11)]
    for delay, own in zip(delays, (*DELAYS_S[1:], 0), strict=True):
        assert own <= delay <= own * (1 + JITTER)
    assert 75 * 3600 < sum(DELAYS_S) < 76 * 3600
    last = judge(EventAnswer(500), 10, Random(1))
    assert (last.state, last.is_exhausted) == ("failed", True)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_has_delivered_it(status: int) -> None:
    """And nothing else has."""
    assert judge(EventAnswer(status), 1, Random(1)).is_good


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 429, 500, 502, 503])
def test_whatever_else_is_answered_is_tried_again(status: int) -> None:
    """A redirect as well: it is not followed."""
    outcome = judge(EventAnswer(status), 1, Random(1))
    assert outcome.state == "waiting"
    assert outcome.error == f"status {status}"
    assert not outcome.disable


def test_no_answer_is_tried_again_with_its_reason() -> None:
    """The word of the pool stays with the delivery."""
    outcome = judge(EventAnswer(None, "timeout: no answer within 15 s"), 3, Random(1))
    assert (outcome.state, outcome.error) == ("waiting", "timeout: no answer within 15 s")


@pytest.mark.parametrize(
    ("answer", "state", "disables"),
    [
        (EventAnswer(410), "failed", True),
        (EventAnswer(400, delivery="disable"), "aborted", True),
        (EventAnswer(500, delivery=" Disable "), "aborted", True),
        (EventAnswer(200, delivery="disable"), "delivered", True),
        (EventAnswer(500, delivery="abort-message"), "aborted", False),
        (EventAnswer(200, delivery="abort-message"), "delivered", False),
        (EventAnswer(500, delivery="anything"), "waiting", False),
    ],
)
def test_a_receiver_may_end_an_event_or_its_endpoint(answer: EventAnswer, state: str, disables: bool) -> None:
    """410 Gone, or the header of Standard Webhooks."""
    outcome = judge(answer, 1, Random(1))
    assert (outcome.state, bool(outcome.disable)) == (state, disables)


@given(
    tries=st.integers(1, 9),
    asked=st.floats(0, 10**9, allow_nan=False),
    seed=st.integers(),
    status=st.sampled_from([429, 503]),
)
def test_retry_after_makes_a_delay_longer_within_bounds(tries: int, asked: float, seed: int, status: int) -> None:
    """Never earlier than the schedule, never later than twice that and two hours."""
    delay = judge(EventAnswer(status, retry_after_s=asked), tries, Random(seed)).next_in_s
    own = DELAYS_S[tries]
    assert max(own, min(asked, own * 2 + 7200)) <= delay <= max(own, min(asked, own * 2 + 7200)) + own * JITTER
