"""trinity/backup/drill_rows.py; begun and ended in a database: test_drill.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.backup.drill_rows import AGAIN_SECONDS, EVERY_SECONDS, is_due

ENDED = ["good", "different", "failed"]


@pytest.mark.parametrize("outcome", ENDED)
def test_a_drill_is_due_a_week_after_a_good_one_and_a_day_after_any_other(outcome: str) -> None:
    """Not a second before."""
    pause = EVERY_SECONDS if outcome == "good" else AGAIN_SECONDS
    assert not is_due(outcome, pause - 1)
    assert is_due(outcome, pause)


@given(st.sampled_from(ENDED), st.floats(0, 10 * EVERY_SECONDS), st.floats(0, 10 * EVERY_SECONDS))
def test_what_is_due_stays_due(outcome: str, ago: float, later: float) -> None:
    """Waiting never makes a drill less due."""
    assert is_due(outcome, ago + later) or not is_due(outcome, ago)


def test_the_first_one_and_one_of_a_clock_that_was_ahead_are_due_at_once() -> None:
    """Whoever never drilled, or whose last drill lies in the future, does not wait for years."""
    assert is_due(None, 0.0)
    assert is_due("good", -1.0)
