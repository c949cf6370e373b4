"""workers/ledger/pace.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.clock import NS_PER_SECOND
from workers.ledger.pace import REST_NS_MAX, Pace


def _loaded(seconds: float) -> Pace:
    pace = Pace()
    pace.loaded(int(seconds * NS_PER_SECOND), now_ns=0)
    return pace


@pytest.mark.parametrize(
    ("took", "second", "has_full", "rests"),
    [
        (0.5, 4.4, False, True),
        (0.5, 4.5, False, False),
        (0.5, 0.1, True, False),
        (0.01, 0.08, False, True),
        (0.01, 0.09, False, False),
    ],
)
def test_it_rests_nine_times_as_long_as_the_last_file_took(
    took: float, second: float, has_full: bool, rests: bool
) -> None:
    """Unless a segment is full: what waits is never much more than one."""
    assert _loaded(took).rests(int(second * NS_PER_SECOND), has_full) is rests


@given(st.integers(0, 10**12))
def test_no_file_earns_a_rest_of_minutes(took_ns: int) -> None:
    """However long a server stood still, the next file has its turn after ten seconds."""
    pace = Pace()
    pace.loaded(took_ns, now_ns=0)
    assert not pace.rests(REST_NS_MAX, has_full=False)


def test_nothing_rests_before_the_first_file() -> None:
    """A start finds what its predecessor left."""
    assert not Pace().rests(1, has_full=False)
