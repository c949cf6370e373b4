"""trinity/balancer/verdicts.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.balancer.verdicts import AskingPace, ListStanding, ServiceHealth, chosen
from trinity.errors import InputError

PACE = AskingPace(interval_ns=30, quick_ns=1, misses_max=3)


def test_a_node_that_says_no_is_out_at_once_and_back_with_its_first_yes() -> None:
    """503 is its own word; nothing has to be counted."""
    health = ServiceHealth(PACE)
    health.hear(200, "")
    health.hear(503, "draining")
    assert (health.standing, health.reason, health.wait_ns) == (ListStanding.OUT, "draining", 1)
    health.hear(200, "")
    assert (health.standing, health.reason, health.wait_ns) == (ListStanding.IN, "", 30)


def test_a_silent_node_is_out_after_some_misses_and_asked_quickly_meanwhile() -> None:
    """One miss alone is a health process that is started again."""
    health = ServiceHealth(PACE)
    health.hear(200, "")
    for standing in (ListStanding.IN, ListStanding.IN, ListStanding.OUT):
        health.hear(0, "connection refused")
        assert (health.standing, health.wait_ns) == (standing, 1)


@given(st.lists(st.sampled_from([0, 200, 503])))
def test_the_last_answer_decides_whatever_came_before(heard: list[int]) -> None:
    """And misses behind it only when they are enough."""
    health = ServiceHealth(PACE)
    for status in heard:
        health.hear(status, "")
    answers = [status for status in heard if status]
    misses = len(heard) - max((index + 1 for index, status in enumerate(heard) if status), default=0)
    if misses >= PACE.misses_max:
        assert health.standing is ListStanding.OUT
    elif answers:
        assert health.standing is (ListStanding.IN if answers[-1] == 200 else ListStanding.OUT)
    else:
        assert health.standing is ListStanding.UNKNOWN


def test_where_nobody_is_in_all_are_asked() -> None:
    """A check that is wrong everywhere is no outage."""
    assert chosen([("a", ListStanding.IN), ("b", ListStanding.OUT), ("c", ListStanding.UNKNOWN)]) == ["a", "c"]
    assert chosen([("a", ListStanding.OUT), ("b", ListStanding.OUT)]) == ["a", "b"]
    assert chosen([]) == []


@pytest.mark.parametrize(
    ("wrong", "field"), [({"quick_ns": 0}, "--quick"), ({"quick_ns": 31}, "--quick"), ({"misses_max": 0}, "--misses")]
)
def test_a_pace_that_cannot_be_is_refused(wrong: dict[str, int], field: str) -> None:
    """With the argument's name."""
    with pytest.raises(InputError, match=field):
        AskingPace(**({"interval_ns": 30, "quick_ns": 1, "misses_max": 3} | wrong))
