"""trinity/memory/atomics.py"""

import multiprocessing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.compiled import jit_enabled
from trinity.memory.atomics import (
    compare_and_swap,
    copy_words,
    fence,
    load_acquire,
    read_fence,
    signed,
    store_release,
    unsigned,
)
from trinity.memory.segment import Segment

WORDS = st.integers(min_value=0, max_value=2**64 - 1)


@pytest.mark.uncompiled
@given(value=WORDS)
def test_a_stored_word_is_read_back(value: int) -> None:
    """What store_release writes, load_acquire reads, for every 64-bit value."""
    words = np.zeros(4, np.uint64)
    store_release(words, 2, np.uint64(value))
    fence()
    assert int(load_acquire(words, 2)) == value
    assert words.tolist() == [0, 0, value, 0]


@pytest.mark.uncompiled
@given(value=WORDS, expected=WORDS, desired=WORDS)
def test_compare_and_swap_changes_only_what_was_expected(value: int, expected: int, desired: int) -> None:
    """A word that holds something else stays, and the caller is told."""
    words = np.array([value], np.uint64)
    swapped = compare_and_swap(words, 0, np.uint64(expected), np.uint64(desired))
    assert bool(swapped) == (value == expected)
    assert int(words[0]) == (desired if value == expected else value)


@pytest.mark.uncompiled
@pytest.mark.parametrize("index", [-1, 4, 2**40])
def test_an_index_out_of_range_raises(index: int) -> None:
    """No atomic touches memory outside of its array."""
    words = np.zeros(4, np.uint64)
    with pytest.raises(IndexError):
        load_acquire(words, index)
    with pytest.raises(IndexError):
        store_release(words, index, np.uint64(1))
    with pytest.raises(IndexError):
        compare_and_swap(words, index, np.uint64(0), np.uint64(1))


@pytest.mark.uncompiled
@pytest.mark.parametrize(("start", "count"), [(-1, 1), (3, 2), (0, 5), (0, -1), (2**62, 1)])
def test_words_are_copied_in_range_or_not_at_all(start: int, count: int) -> None:
    """copy_words copies exactly the words asked for and raises for a range outside of either array."""
    words, value = np.arange(4, dtype=np.uint64), np.full(3, 9, dtype=np.uint64)
    copy_words(words, 2, value, 2)
    assert list(value) == [2, 3, 9]
    with pytest.raises(IndexError):
        copy_words(words, start, value, count)
    with pytest.raises(IndexError):
        copy_words(words, 0, value, 4)
    read_fence()
    assert list(value) == [2, 3, 9]


def _add_many(words: Any, times: int) -> None:
    for _ in range(times):
        before = load_acquire(words, 0)
        while not compare_and_swap(words, 0, before, unsigned(before + 1)):
            before = load_acquire(words, 0)


@pytest.mark.skipif(not jit_enabled(), reason="the plain twins order nothing between processes")
def test_two_processes_lose_no_addition(segment_name: str) -> None:
    """compare_and_swap is one indivisible instruction between processes."""
    segment = Segment.create(segment_name, 1, 1, 8)
    _add_many(segment.body, 1)  # compiles
    segment.body[0] = 0
    fork = multiprocessing.get_context("fork")
    adders = [fork.Process(target=_add_many, args=(segment.body, 200_000)) for _ in range(2)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join(60)
        assert adder.exitcode == 0
    assert int(segment.body[0]) == 400_000
    segment.unlink()


@pytest.mark.uncompiled
@given(st.integers(0, 2**63 - 1))
def test_a_number_keeps_its_value_as_signed_and_unsigned(value: int) -> None:
    """Only the kind changes."""
    assert int(signed(np.uint64(value))) == int(unsigned(value)) == value
