"""Steps 1 and 2 in integers against the decimal ones: any quote, at any moment."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.consensus.decimals.rules import Source, refusal_of
from feeds.consensus.decimals.venue import judge_quote, phase_at
from feeds.consensus.integers.arrays import VERDICT_OF, make_arrays
from feeds.consensus.integers.cycle import read_changes
from feeds.consensus.integers.quotes import judge, take_quote
from tests.feeds.consensus.both_ways import ASSETS, catalog_of, quotes, row_states
from tests.feeds.consensus.cases import RULES, quote_of
from tests.support.clocks import NOW_NS
from tests.support.contexts import node_of
from trinity.clock import NS_PER_MS
from trinity.memory.price_table import RowState, StoredQuote

pytestmark = pytest.mark.uncompiled


@settings(max_examples=150)
@given(data=st.data(), asset=st.sampled_from(sorted(ASSETS)), state=row_states, later_ms=st.integers(0, 12_000))
def test_any_quote_is_judged_as_the_decimal_rules_judge_it(
    data: st.DataObject, asset: str, state: RowState, later_ms: int
) -> None:
    """Verdict, price, half width's kind, receipt and end of the phase, at its receipt and up to 12 s later."""
    quote: StoredQuote = data.draw(quotes(asset, NOW_NS))
    now_ns = NOW_NS + later_ms * NS_PER_MS
    with node_of(catalog_of()) as memory:
        arrays = make_arrays(memory.prices, memory.answers, memory.card.catalog, simulated=False)
        memory.prices.write(0, 0, quote)
        memory.prices.write_state(0, 0, state)
        assert take_quote(*arrays, 0, 0)
        row = arrays.state["rows"][0]
        judge(row, arrays.state["quotes"][0], arrays.state["assets"][0], now_ns)

        venue = phase_at(judge_quote(quote, RULES), now_ns)
        refusal = refusal_of(Source(0, "USD", state, venue), now_ns)
        assert int(row["verdict"]) == (0 if refusal is None else VERDICT_OF[refusal])
        assert int(row["fresh_until_ns"]) == venue.fresh_until_ns
        if refusal is None:
            assert Decimal(int(row["double_price"])).scaleb(-int(row["digits"])) == 2 * (venue.price or 0)
            assert int(row["received_at_ns"]) == venue.received_at_ns
            assert [bool(int(row["counted"]) >> i & 1) for i in range(3)] == [
                side is not None for side in (venue.bid, venue.ask, venue.last)
            ]


def test_only_what_changed_is_read() -> None:
    """A cell once for each new quote or state, in the order of the assets; nothing when nothing changed."""
    with node_of(catalog_of()) as memory:
        arrays = make_arrays(memory.prices, memory.answers, memory.card.catalog, simulated=False)
        assert read_changes(*arrays) == 0
        memory.prices.write(5, 1, quote_of("0.1"))
        memory.prices.write(2, 0, quote_of("71000"))
        assert read_changes(*arrays) == 2
        assert read_changes(*arrays) == 0
        memory.prices.write_state(2, 0, RowState.FROZEN)
        assert read_changes(*arrays) == 1
        assert RowState(int(arrays.state["rows"][2]["state"])) is RowState.FROZEN
