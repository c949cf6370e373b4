"""Assets whose numbers do not fit the compiled arithmetic are decided in decimals, and come back from there."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.feeds.consensus.both_ways import BothWays, catalog_of
from tests.feeds.consensus.cases import quote_of
from tests.support.contexts import node_of
from trinity.clock import NS_PER_SECOND
from trinity.memory.answer_table import AnswerState

pytestmark = pytest.mark.uncompiled

BTC = 0
PRICES = ["71000", "71005", "70998", "71003", "71010", "71002"]
FINE = ["71000.1234567890123", "71005.5", "70998", "71003", "71010", "900000000000000"]
PAR = {"USDT": Decimal(1)}


@pytest.fixture
def both() -> Iterator[BothWays]:
    with node_of(catalog_of()) as memory:
        yield BothWays(memory)


def write(both: BothWays, prices: list[str]) -> None:
    for exchange, price in enumerate(prices):
        both.prices.write(exchange, BTC, quote_of(price, at_ns=both.now_ns))


def test_too_many_digits_are_decided_in_decimals(both: BothWays) -> None:
    """18 digits of one exchange beside 15 before the point of another: every byte is what the rules say."""
    write(both, FINE)
    both.turn(PAR)
    assert (both.exact, both.market.outcome(BTC).state) == (1, AnswerState.GOOD)
    assert both.market.outcome(BTC).rejected == {5: "outlier"}


def test_the_compiled_way_goes_on_where_decimals_left_off(both: BothWays) -> None:
    """Hold-outs and the last price pass from one way to the other and back; own prices are shown again."""
    for prices, exact in ((PRICES, 0), (FINE, 1), (PRICES, 1), (FINE, 2), (PRICES, 2)):
        both.now_ns += NS_PER_SECOND
        write(both, prices)
        both.turn(PAR)
        assert both.exact == exact
    assert both.market.outcome(BTC).rejected == {5: "held_out"}


def test_an_exact_asset_ages_like_any_other(both: BothWays) -> None:
    """Without a new quote its sources become stale, one turn after the other."""
    write(both, FINE)
    both.turn(PAR)
    both.now_ns += 11 * NS_PER_SECOND
    both.turn(PAR)
    assert both.market.outcome(BTC).state is AnswerState.STALE
    assert both.market.state_of(BTC) is AnswerState.STALE


def test_a_coin_beyond_the_bound_is_decided_in_decimals(both: BothWays) -> None:
    """USDT at three dollars: its venues are converted exactly, and left out as outliers."""
    write(both, PRICES)
    both.turn({"USDT": Decimal("3.000000000001")})
    assert both.exact == 2
    assert set(both.market.outcome(BTC).rejected) == {3, 5}
