"""128-bit integers in compiled code against Python's own."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trinity.compiled import compiled
from trinity.native.octets import Integers
from trinity.native.wide import divide, load_wide, narrow, store_wide, widen

pytestmark = pytest.mark.uncompiled

numbers = st.integers(-(2**62), 2**62)
naturals = st.integers(0, 2**62)


@compiled
def _calculate(a: int, b: int, c: int, out: Integers) -> None:
    """Products and their sums, and what is less."""
    x, y = widen(a) * widen(b), widen(c) * widen(c)
    store_wide(out, 0, x)
    store_wide(out, 1, x + y)
    store_wide(out, 2, x - y)
    out[6], out[7], out[8] = x < y, x <= y, x == y
    out[9], out[10] = x > y, narrow(load_wide(out, 0) - x)


@compiled
def _divide(a: int, b: int, divisor: int, times: int, out: Integers) -> None:
    quotient, rest = divide(widen(a) * widen(b), widen(divisor) * widen(times))
    store_wide(out, 0, quotient)
    store_wide(out, 1, rest)


def _read(out: Integers, position: int) -> int:
    return int(out[2 * position + 1]) * 2**64 + int(out[2 * position]) % 2**64


@given(numbers, numbers, numbers)
@example(2**62, 2**62, 0)
@example(-(2**62), 2**62, 2**62)
def test_products_sums_and_comparisons_are_exact(a: int, b: int, c: int) -> None:
    """All that 125 bits hold comes out as Python's integers say, also through the memory."""
    out = np.zeros(11, dtype=np.int64)
    _calculate(a, b, c, out)
    x, y = a * b, c * c
    assert [_read(out, i) for i in range(3)] == [x, x + y, x - y]
    assert out[6:11].tolist() == [x < y, x <= y, x == y, x > y, 0]


@given(naturals, naturals, st.integers(1, 2**62), st.integers(1, 2**62))
@example(2**62, 2**62, 1, 1)
@example(0, 5, 7, 1)
@example(2**62, 2**62, 2**62, 2**62)
def test_quotient_and_remainder_are_exact(a: int, b: int, divisor: int, times: int) -> None:
    """divide() is divmod() for numbers that are not negative."""
    out = np.zeros(4, dtype=np.int64)
    _divide(a, b, divisor, times, out)
    assert (_read(out, 0), _read(out, 1)) == divmod(a * b, divisor * times)
