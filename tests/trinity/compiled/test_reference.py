"""trinity/compiled/reference.py"""

from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trinity.compiled import compiled, jit_enabled, refer_to
from trinity.memory.atomics import Words

if not jit_enabled():
    pytest.skip("there is no machine code", allow_module_level=True)

NOTE_DTYPE = np.dtype([("count", np.int64), ("text", np.uint8, 5)], align=True)


class Inner(NamedTuple):
    """What stands in the middle of the outer context."""

    note: np.void
    table: NDArray[np.int64]  # of two dimensions
    is_open: bool


class Outer(NamedTuple):
    """A context as the request loop has them: arrays, and another context."""

    words: Words
    inner: Inner
    octets: NDArray[np.uint8]
    limit: int


def outer_of(words: list[int], rows: list[list[int]], octets: bytes, limit: int, is_open: bool = True) -> Outer:
    inner = Inner(np.zeros(1, dtype=NOTE_DTYPE)[0], np.array(rows, dtype=np.int64), is_open)
    return Outer(np.array(words, dtype=np.uint64), inner, np.frombuffer(octets, dtype=np.uint8).copy(), limit)


@compiled
def _row_sum(inner: Inner, row: int) -> int:
    total = 0
    for column in range(inner.table.shape[1]):
        total += inner.table[row, column]
    return total


@compiled
def described(outer: Outer, row: int) -> tuple[int, int, int, int, int]:
    """Something of each part, through a reference to the inner context."""
    outer.inner.note["count"] += outer.words.size
    last = np.int64(outer.octets[outer.octets.size - 1])
    return _row_sum(outer.inner, row), last, outer.limit, int(outer.inner.is_open), outer.inner.note["count"]


@compiled
def _raise_all(words: Words) -> None:
    for i in range(words.size):
        words[i] += np.uint64(1)


@compiled
def seen_to_change(outer: Outer, times: int) -> int:
    """What others write to an array is seen at the next look, in a loop as well."""
    total = 0
    for _ in range(times):
        total += np.int64(outer.words[0])
        _raise_all(outer.words)
    return total


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(-(2**40), 2**40), min_size=3, max_size=3), min_size=1, max_size=4),
    st.binary(min_size=1, max_size=9),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.data(),
)
def test_a_reference_says_what_the_context_says(
    words: list[int], rows: list[list[int]], octets: bytes, limit: int, is_open: bool, data: st.DataObject
) -> None:
    """Each part of it, the nested ones too: as the same function says of the context passed by its parts."""
    row = data.draw(st.integers(0, len(rows) - 1))
    outer = outer_of(words, rows, octets, limit, is_open)
    by_reference = described(refer_to(outer), row)
    assert by_reference == (sum(rows[row]), octets[-1], limit, is_open, len(words))
    assert described(outer, row) == (*by_reference[:4], 2 * len(words)), "both count in the same record"


def test_what_arrays_hold_may_change() -> None:
    """Only their addresses and sizes are taken to be fixed."""
    assert seen_to_change(refer_to(outer_of([5], [[1]], b"x", 0)), 4) == 5 + 6 + 7 + 8


def test_an_index_beyond_an_array_is_an_error_here_too() -> None:
    """The shape comes with the reference."""
    with pytest.raises(IndexError):
        described(refer_to(outer_of([1], [[1, 2]], b"x", 0)), 1)


def test_the_context_lives_as_long_as_its_reference() -> None:
    """Whoever makes a reference need not keep what it refers to."""
    reference = refer_to(outer_of(list(range(1000)), [[1]], b"x", 0))
    others = [np.ones(1000, dtype=np.uint64) for _ in range(100)]
    assert seen_to_change(reference, 1) == 0
    assert len(others) == 100


@pytest.mark.parametrize("part", ["text", Decimal(1), [1], np.zeros((2, 2, 2)), np.zeros(4)[::2], None])
def test_what_has_no_fixed_place_is_refused(part: Any) -> None:
    """By its type: text, lists, arrays that are not one piece of memory."""

    class Strange(NamedTuple):
        part: Any

    with pytest.raises(TypeError, match="a context holds arrays"):
        refer_to(Strange(part))
