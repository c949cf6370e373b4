"""Stretches of time against sets of seconds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.sync.intervals import Interval, Intervals, as_text, clip, from_text, subtract, touches, union

PAIRS = st.tuples(st.integers(0, 40), st.integers(0, 40))
MANY = st.lists(PAIRS, max_size=8)


def _seconds(whole: Intervals | list[Interval]) -> set[int]:
    return {second for start, end in whole for second in range(start, end)}


@given(MANY, MANY, PAIRS)
def test_they_are_sets_of_seconds(first: list[Interval], second: list[Interval], part: Interval) -> None:
    """Joined, taken away and cut as sets are; sorted, apart and not empty."""
    joined = union(first, second)
    assert _seconds(joined) == _seconds(first) | _seconds(second)
    assert _seconds(subtract(joined, part)) == _seconds(joined) - _seconds([part])
    assert _seconds(clip(joined, part)) == _seconds(joined) & _seconds([part])
    assert touches(joined, *part) == bool(_seconds(joined) & _seconds([part]))
    for made in (joined, subtract(joined, part), clip(joined, part)):
        assert all(start < end for start, end in made)
        assert all(before[1] < after[0] for before, after in itertools.pairwise(made))
    assert from_text(as_text(joined)) == joined


@pytest.mark.parametrize("text", ["1", "1-2-3", "a-b", "1-2,"])
def test_other_texts_are_refused(text: str) -> None:
    """A mark of somebody else's is none."""
    with pytest.raises(ValueError, match=r"."):
        from_text(text)
