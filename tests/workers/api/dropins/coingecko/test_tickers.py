"""What each exchange says of a coin."""

from decimal import Decimal
from typing import Any

import pytest

from tests.support.node_fixture import CATALOG, empty_node
from tests.support.quotes import stored_quote
from tests.workers.api.live import publish
from tests.workers.request.conftest import answer_of
from trinity.clock import SystemClock
from trinity.memory.answer_table import VERDICT_REJECTED, VERDICT_USED, AnswerState
from trinity.memory.node import NodeMemory
from workers.api.base.prices import Prices
from workers.api.dropins.coingecko.tickers import tickers_of

BTC = CATALOG.asset_index("BTC")
COINBASE, OKX = CATALOG.exchange_index("coinbase"), CATALOG.exchange_index("okx")


def offer(memory: NodeMemory, exchange: int, price: str, **fields: int) -> None:
    """The exchange's own price of a bitcoin."""
    memory.answers.write(memory.answers.row_of(BTC, exchange), answer_of("BTC", price, **fields))


def read(memory: NodeMemory) -> list[dict[str, Any]]:
    """The tickers, with numbers for the raw text of them."""
    prices = Prices(CATALOG, memory.answers)
    tickers = tickers_of(memory, prices, BTC, SystemClock().monotonic_ns())
    for ticker in tickers:
        ticker["last"] = Decimal(bytes(ticker["last"]).decode())
        ticker["converted_last"] = {
            name: Decimal(bytes(raw).decode()) for name, raw in ticker["converted_last"].items()
        }
    return tickers


def test_a_ticker_is_an_exchange_s_own_price_and_what_it_is_worth() -> None:
    """In its own currency; in USD by the stablecoin's index, in coins by their fresh prices."""
    with empty_node() as memory:
        publish(memory, "BTC", "60000")
        offer(memory, COINBASE, "60030")
        offer(memory, OKX, "60000")
        memory.answers.write_index(0, 0.5)
        memory.prices.write(COINBASE, BTC, stored_quote(Decimal(59_940), Decimal(60_000), None, None, 0, 0))
        dollars, tethers = read(memory)
    assert (dollars["base"], dollars["target"], dollars["target_coin_id"]) == ("BTC", "USD", "")
    assert dollars["market"] == {"name": "Coinbase Exchange", "identifier": "gdax", "has_trading_incentive": None}
    assert (dollars["last"], dollars["converted_last"]) == (60_030, {"usd": 60_030, "btc": Decimal("1.0005")})
    assert bytes(dollars["bid_ask_spread_percentage"]) == b"0.1"
    assert (tethers["target"], tethers["target_coin_id"], tethers["market"]["identifier"]) == ("USDT", "tether", "okex")
    assert (tethers["last"], tethers["converted_last"]) == (60_000, {"usd": 30_000, "btc": Decimal("0.5")})
    assert (tethers["bid_ask_spread_percentage"], tethers["volume"], tethers["coin_mcap_usd"]) == (None, None, None)


@pytest.mark.parametrize("verdict", [VERDICT_USED, VERDICT_REJECTED, VERDICT_REJECTED + 1])
def test_a_price_that_the_consensus_left_out_is_an_anomaly(verdict: int) -> None:
    """Whatever the reason."""
    with empty_node() as memory:
        offer(memory, COINBASE, "60030")
        memory.answers.write_verdict(COINBASE, BTC, verdict)
        (ticker,) = read(memory)
    assert ticker["is_anomaly"] is (verdict != VERDICT_USED)


def test_an_exchange_without_a_good_price_has_no_ticker() -> None:
    """Nor is a stablecoin's quote worth anything in USD without an index."""
    with empty_node() as memory:
        offer(memory, COINBASE, "60030", state=AnswerState.STALE)
        offer(memory, OKX, "60000")
        (ticker,) = read(memory)
    assert (ticker["market"]["identifier"], ticker["converted_last"]) == ("okex", {})


def test_a_simulated_exchange_is_called_so() -> None:
    """Nobody takes the demo for the market."""
    with empty_node(simulated=True) as memory:
        offer(memory, COINBASE, "60030")
        (ticker,) = read(memory)
    assert ticker["market"]["name"] == "Coinbase Exchange (simulated)"
