"""The compiled consensus against the decimal rules, over whole histories: every byte of every answer."""

import contextlib
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feeds.consensus.both_ways import ASSETS, BothWays, catalog_of, index_sets, quotes, row_states
from tests.feeds.consensus.cases import EXCHANGES, USDT_VENUES, quote_of
from tests.support.contexts import node_of
from trinity.clock import NS_PER_SECOND
from trinity.limits import JUMP_HOLD_NS, REENTRY_NS
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState

pytestmark = pytest.mark.uncompiled

NAMES = list(ASSETS)
BTC = 0
PRICES = ["71000", "71005", "70998", "71003", "71010", "71002"]
PAR = {"USDT": Decimal(1)}


@contextlib.contextmanager
def both_ways() -> Iterator[BothWays]:
    with node_of(catalog_of()) as memory:
        yield BothWays(memory)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_history_of_quotes_is_decided_as_the_decimal_rules_say(data: st.DataObject) -> None:
    """Prices, confidences, times, verdicts, texts, hold-outs and jumps: equal to the last digit, turn after turn."""
    with both_ways() as both:
        for _ in range(data.draw(st.integers(1, 12))):
            both.now_ns += data.draw(st.sampled_from([0, 1, NS_PER_SECOND // 10, NS_PER_SECOND, 6 * NS_PER_SECOND]))
            for _ in range(data.draw(st.integers(0, 8))):
                exchange, asset = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 2))
                if NAMES[asset] == "USDT" and EXCHANGES[exchange] in USDT_VENUES:
                    continue
                both.prices.write(exchange, asset, data.draw(quotes(NAMES[asset], both.now_ns)))
                both.prices.write_state(exchange, asset, data.draw(row_states))
            both.turn(data.draw(index_sets()))


def _write(both: BothWays, prices: list[str]) -> None:
    for exchange, price in enumerate(prices):
        both.prices.write(exchange, BTC, quote_of(price, at_ns=both.now_ns))
        both.prices.write_state(exchange, BTC, RowState.LIVE)


def _state(both: BothWays) -> AnswerState:
    return both.market.outcome(BTC).state


def test_six_prices_that_agree_give_their_median() -> None:
    """The worked example of the rules, by integers: 71002.5, all six kept."""
    with both_ways() as both:
        _write(both, PRICES)
        both.turn(PAR)
        outcome = both.market.outcome(BTC)
        assert (outcome.price, outcome.used) == (Decimal("71002.5"), (0, 1, 2, 3, 4, 5))


def test_an_outlier_is_held_out_until_it_was_stable() -> None:
    """It is cut, stays out for REENTRY_NS after it agrees again, and is back then; both ways at every moment."""
    with both_ways() as both:
        _write(both, [*PRICES[:5], "75000"])
        both.turn(PAR)
        assert both.market.outcome(BTC).rejected == {5: "outlier"}
        steps = []
        for _ in range(8):
            both.now_ns += NS_PER_SECOND
            _write(both, PRICES)
            both.turn(PAR)
            steps.append(both.market.outcome(BTC).rejected.get(5))
        assert steps == ["held_out"] * (REENTRY_NS // NS_PER_SECOND) + [None] * 3


def test_a_jump_of_some_waits_and_is_let_through_in_time() -> None:
    """Four of six jump by a fifth: nothing is served until JUMP_HOLD_NS is over, then the new price."""
    with both_ways() as both:
        _write(both, PRICES)
        both.turn(PAR)
        jumped = ["85000", "85001", "85002", "85003", *PRICES[4:]]
        for _ in range(JUMP_HOLD_NS // NS_PER_SECOND):
            both.now_ns += NS_PER_SECOND
            _write(both, jumped)
            both.turn(PAR)
            assert _state(both) is AnswerState.SOURCES_DISAGREE
        both.now_ns += NS_PER_SECOND
        _write(both, jumped)
        both.turn(PAR)
        assert _state(both) is AnswerState.GOOD


def test_a_price_of_18_digits_and_a_millionth_are_compared_without_overflow() -> None:
    """A liar beyond all sense: both ways say the same, and the distance is bounded."""
    with both_ways() as both:
        _write(both, ["0.00001231", "0.00001232", "0.0000123", "0.00001233", "0.00001234", "999999999999"])
        both.turn(PAR)
        assert both.exact == 1
        assert _state(both) is AnswerState.GOOD
        record = both.answers.read(both.answers.row_of(BTC))
        assert record is not None
        assert int(record["disagreement_milli_bps"][0]) == 10**15
