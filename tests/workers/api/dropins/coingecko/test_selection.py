"""Which coins and currencies a caller means."""

import pytest

from tests.support.node_fixture import CATALOG, busy_node
from workers.api.base.prices import Prices
from workers.api.base.problems import ProblemError
from workers.api.dropins.coingecko.selection import (
    all_currencies,
    coin_by_id,
    currency_names,
    read_currencies,
    read_currency,
    select_coins,
)


@pytest.fixture
def prices() -> Prices:
    with busy_node() as memory:
        return Prices(CATALOG, memory.answers)


def test_coins_are_found_by_three_kinds_of_names(prices: Prices) -> None:
    """Unknown ones are left out; nothing asked for is not the same as nothing found."""
    btc, eth = CATALOG.asset_index("BTC"), CATALOG.asset_index("ETH")
    assert select_coins(prices, "BITCOIN,nope", "Ethereum", "btc") == {"bitcoin": btc, "Ethereum": eth, "btc": btc}
    assert select_coins(prices, "nope", None, None) == {}
    assert select_coins(prices, None, None, None) is None
    assert coin_by_id(prices, "the-open-network") == CATALOG.asset_index("GRAM")
    with pytest.raises(ProblemError, match="coin not found"):
        coin_by_id(prices, "btc")


def test_currencies_are_usd_and_the_assets(prices: Prices) -> None:
    """An unknown one among others is left out; alone it is refused with those that are allowed."""
    assert currency_names(prices) == [currency.name for currency in all_currencies(prices)]
    assert currency_names(prices)[:2] == ["usd", CATALOG.assets[0].name.lower()]
    assert [currency.name for currency in read_currencies(prices, "USD, eur,usdt")] == ["usd", "usdt"]
    assert read_currency(prices, "Btc").asset == CATALOG.asset_index("BTC")
    for refused in (lambda: read_currencies(prices, "eur,gbp"), lambda: read_currency(prices, "eur")):
        with pytest.raises(ProblemError, match="there are usd, btc") as problem:
            refused()
        assert problem.value.field in ("vs_currency", "vs_currencies")
