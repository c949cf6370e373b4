"""trinity/memory/cell.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.memory.cell import COUNTER_WORDS, cell_words, publish, snapshot, snapshot_prefix

VALUES = st.lists(st.integers(0, 2**64 - 1), min_size=8, max_size=8)


@pytest.mark.uncompiled
def test_an_unpublished_cell_has_nothing_to_read() -> None:
    """A fresh cell is not a cell of zeros."""
    words = np.zeros(cell_words(8), np.uint64)
    assert not snapshot(words, 0, 8, np.zeros(8, np.uint64))


@pytest.mark.uncompiled
@given(versions=st.lists(VALUES, min_size=1, max_size=6))
def test_the_newest_version_is_read_and_the_older_one_stays_in_the_other_slot(versions: list[list[int]]) -> None:
    """Publishing fills the slot that readers do not use."""
    words = np.zeros(cell_words(8), np.uint64)
    for version in versions:
        publish(words, 0, 8, np.array(version, np.uint64))
    value = np.zeros(8, np.uint64)
    assert snapshot(words, 0, 8, value)
    assert value.tolist() == versions[-1]
    assert int(words[0]) == len(versions)
    if len(versions) > 1:
        older = COUNTER_WORDS + ((len(versions) + 1) & 1) * 8
        assert words[older : older + 8].tolist() == versions[-2]


@pytest.mark.uncompiled
def test_a_writer_that_stopped_before_publishing_leaves_the_old_value() -> None:
    """There is no state in between: half a new value is not visible."""
    words = np.zeros(cell_words(8), np.uint64)
    publish(words, 0, 8, np.full(8, 7, np.uint64))
    next_slot = COUNTER_WORDS + ((1 + 1) & 1) * 8
    words[next_slot : next_slot + 3] = 9
    value = np.zeros(8, np.uint64)
    assert snapshot(words, 0, 8, value)
    assert value.tolist() == [7] * 8


@pytest.mark.uncompiled
def test_a_cell_that_does_not_fit_its_memory_raises() -> None:
    """Bounds checks are on: no write goes past the end."""
    words = np.zeros(cell_words(8) - 1, np.uint64)
    words[0] = 2  # the next version goes into the slot that is cut short
    with pytest.raises(IndexError):
        publish(words, 0, 8, np.zeros(8, np.uint64))


@pytest.mark.uncompiled
def test_a_prefix_of_the_newest_version_leaves_the_rest_of_the_buffer_alone() -> None:
    """A reader of two words copies two words."""
    words = np.zeros(cell_words(8), np.uint64)
    value = np.full(8, 5, np.uint64)
    assert not snapshot_prefix(words, 0, 8, 2, value)
    publish(words, 0, 8, np.arange(10, 18, dtype=np.uint64))
    publish(words, 0, 8, np.arange(20, 28, dtype=np.uint64))
    assert snapshot_prefix(words, 0, 8, 2, value)
    assert value.tolist() == [20, 21, 5, 5, 5, 5, 5, 5]
