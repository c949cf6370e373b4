"""The arrays in the words of Python."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.consensus.decimals.venue import judge_quote
from tests.feeds.consensus.both_ways import BothWays, catalog_of, quotes
from tests.feeds.consensus.cases import RULES, quote_of
from tests.support.clocks import NOW_NS
from tests.support.contexts import node_of
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState

pytestmark = pytest.mark.uncompiled


@pytest.fixture
def both() -> Iterator[BothWays]:
    with node_of(catalog_of()) as memory:
        yield BothWays(memory)


@settings(max_examples=40)
@given(data=st.data())
def test_a_quote_comes_out_as_it_was_written(data: st.DataObject) -> None:
    """Every side, price, digit and time."""
    quote = data.draw(quotes("BTC", NOW_NS))
    with node_of(catalog_of()) as memory:
        both = BothWays(memory)
        assert both.market.quote(0, 3) is None
        both.prices.write(3, 0, quote)
        both.turn({})
        assert both.market.quote(0, 3) == quote == both.prices.read(3, 0)


def test_a_source_is_judged_once_a_quote(both: BothWays) -> None:
    """The same object until another quote was read; its state is always the newest."""
    both.prices.write(0, 0, quote_of("71000"))
    both.turn({})
    listing = both.market.listings[0][0]
    first = both.market.source(0, listing)
    assert first.venue == judge_quote(quote_of("71000"), RULES)
    both.prices.write_state(0, 0, RowState.FROZEN)
    both.turn({})
    second = both.market.source(0, listing)
    assert (second.venue is first.venue, second.state) == (True, RowState.FROZEN)
    both.prices.write(0, 0, quote_of("71001"))
    both.turn({})
    assert both.market.source(0, listing).venue == judge_quote(quote_of("71001"), RULES)


def test_the_lists_of_a_turn_say_what_it_did(both: BothWays) -> None:
    """Read rows, reviewed and published assets; before the first review an asset is empty."""
    assert both.market.state_of(0) is AnswerState.EMPTY
    for exchange, price in enumerate(["71000", "71001", "71002"]):
        both.prices.write(exchange, 0, quote_of(price))
    both.turn({})
    assert both.market.read() == [(0, 0), (0, 1), (0, 2)]
    assert both.market.reviewed() == both.market.decided() == [0, 1, 2]
    assert both.market.outcome(0).price == Decimal(71001)
    last = both.market.last_good(0)
    assert last is not None
    assert last.text == b"71001"
    both.turn({})
    assert (both.market.read(), both.market.decided()) == ([], [])
