"""Rounding by compiled code against decimals; what a price is as old as, and how long it may be served."""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feeds.consensus.integers.prices import QUOTIENT_MAX, rounded, rounded_up
from tests.feeds.consensus.both_ways import BothWays, catalog_of
from tests.feeds.consensus.cases import quote_of
from tests.support.contexts import node_of
from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled
from trinity.native.octets import Integers
from trinity.native.wide import widen

pytestmark = pytest.mark.uncompiled

WIDE = Context(prec=64)
naturals = st.integers(0, 2**60)


@compiled
def _round(a: int, b: int, divisor: int, out: Integers) -> None:
    """Both ways, of a product."""
    out[0] = rounded(widen(a) * widen(b), widen(divisor))
    out[1] = rounded_up(widen(a) * widen(b), widen(divisor))


@given(naturals, naturals, st.integers(1, 2**62))
@example(1, 1, 2)
@example(3, 1, 2)
@example(5, 10, 20)
@example(2**60, 2**60, 1)
def test_quotients_are_rounded_as_decimals_are(a: int, b: int, divisor: int) -> None:
    """Half to even, and up; what does not fit 64 bits is QUOTIENT_MAX."""
    out = np.zeros(2, dtype=np.int64)
    _round(a, b, divisor, out)
    exact = WIDE.divide(Decimal(a * b), Decimal(divisor))
    for found, rounding in zip(out.tolist(), (ROUND_HALF_EVEN, ROUND_CEILING), strict=True):
        assert found == min(int(exact.to_integral_value(rounding)), QUOTIENT_MAX)


def test_a_price_is_as_old_as_the_oldest_quote_that_it_stands_on() -> None:
    """Of three, the middle one alone counts for age and end, beside the number that is required."""
    with node_of(catalog_of()) as memory:
        both = BothWays(memory)
        for exchange, (price, age) in enumerate([("71000", 1), ("71001", 4), ("71002", 7)]):
            both.prices.write(exchange, 0, quote_of(price, at_ns=both.now_ns - age * NS_PER_SECOND))
        both.turn({})
        record = both.answers.read(both.answers.row_of(0))
        assert record is not None
        assert int(record["received_at_ns"][0]) == both.now_ns - 4 * NS_PER_SECOND
        assert int(record["valid_until_ns"][0]) == both.now_ns + 3 * NS_PER_SECOND + 1
