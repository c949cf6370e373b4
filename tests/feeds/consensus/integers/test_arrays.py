"""What the compiled consensus keeps, from Python and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.consensus.decimals.rules import ConsensusState
from feeds.consensus.integers.arrays import ROWS, TEXT_BYTES_MAX, bits_of, carried_of, make_arrays, set_carried
from tests.feeds.consensus.both_ways import catalog_of
from tests.feeds.consensus.cases import EXCHANGES, RULES
from tests.support.contexts import node_of
from trinity.limits import ASSET_NAME_BYTES_MAX, ASSETS_MAX
from trinity.markets import Asset, Catalog, Market

pytestmark = pytest.mark.uncompiled

moments = st.integers(1, 2**62)


@given(
    held=st.dictionaries(st.integers(0, ROWS - 1), st.one_of(st.none(), moments)),
    last=st.one_of(st.none(), st.decimals(0, 10**9, allow_nan=False, places=8)),
    jump=st.one_of(st.none(), moments),
)
def test_what_an_asset_carries_comes_back(held: dict[int, int | None], last: object, jump: int | None) -> None:
    """Hold-outs with their times, the last price to its digits, and a jump that waits."""
    carried = ConsensusState(held, last, jump)  # type: ignore[arg-type]
    with node_of(catalog_of()) as memory:
        record = make_arrays(memory.prices, memory.answers, memory.card.catalog, simulated=False).state["assets"][0]
        set_carried(record, carried)
        assert carried_of(record) == carried


@given(st.sets(st.integers(0, ROWS - 1)))
def test_a_mask_names_its_exchanges_in_their_order(exchanges: set[int]) -> None:
    """bits_of is the inverse of a sum of bits."""
    assert bits_of(sum(1 << exchange for exchange in exchanges)) == tuple(sorted(exchanges))


def test_the_largest_catalog_fits() -> None:
    """As many assets as are possible, with the longest names, marked as simulated."""
    names = [f"{number:0{ASSET_NAME_BYTES_MAX}}" for number in range(ASSETS_MAX)]
    markets = tuple(Market(exchange, name, "USDT") for name in names for exchange in EXCHANGES)
    catalog = Catalog(EXCHANGES, tuple(Asset(name, RULES) for name in names), markets)
    with node_of(catalog) as memory:
        state = make_arrays(memory.prices, memory.answers, catalog, simulated=True).state
        assert int(state["bounds"].max()) <= TEXT_BYTES_MAX
        assert int(state["count"]) == ASSETS_MAX
