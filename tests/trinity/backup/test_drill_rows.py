"""trinity/backup/drill_rows.py; begun and ended in a database: test_drill.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.backup.drill_rows import AGAIN_SECONDS, EVERY_SECONDS, is_due


@pytest.mark.parametrize(
    ("outcome", "ago", "due"),
    [
        (None, 0.0, True),
        ("good", EVERY_SECONDS - 1, False),
        ("good", EVERY_SECONDS, True),
        ("failed", AGAIN_SECONDS - 1, False),
        ("failed", AGAIN_SECONDS, True),
        ("different", AGAIN_SECONDS, True),
        ("running", 3600.0, False),
        ("running", AGAIN_SECONDS, True),
        ("good", -1.0, True),
    ],
)
def test_when_a_drill_is_due(outcome: str | None, ago: float, due: bool) -> None:
    """Weekly; the next day after one that was not good or was killed; a clock that was ahead stops nothing."""
    assert is_due(outcome, ago) is due


@given(
    st.sampled_from(["good", "different", "failed", "running"]),
    st.floats(0, 10 * EVERY_SECONDS),
    st.floats(0, 10 * EVERY_SECONDS),
)
def test_what_is_due_stays_due(outcome: str, ago: float, later: float) -> None:
    """Waiting never makes a drill less due."""
    assert is_due(outcome, ago + later) or not is_due(outcome, ago)
