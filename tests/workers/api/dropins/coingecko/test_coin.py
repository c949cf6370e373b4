"""One coin, with the client that CoinGecko's users have."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.node_fixture import CATALOG
from tests.workers.api.dropins.coingecko.conftest import ask, client_of
from tests.workers.api.live import Live, live
from tests.workers.api.minutes import store_minutes
from tests.workers.request.conftest import answer_of
from trinity.memory.answer_table import AnswerState

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def offer(service: Live, exchange: str, price: str) -> None:
    """An exchange's own price of a bitcoin."""
    row = service.memory.answers.row_of(CATALOG.asset_index("BTC"), CATALOG.exchange_index(exchange))
    service.memory.answers.write(row, answer_of("BTC", price))


async def test_a_coin_has_prices_in_every_currency_and_tickers(service: Live) -> None:
    """What is not known is null or empty, also in the market data."""
    service.publish("ETH", "35501.25")
    offer(service, "kraken", "71000")
    client = client_of(service.url)
    coin = await ask(client.get_coin_by_id, id="bitcoin", localization=False, developer_data=False)
    assert (coin["id"], coin["symbol"], coin["name"], coin["web_slug"]) == ("bitcoin", "btc", "Bitcoin", "bitcoin")
    market = coin["market_data"]
    assert {name: market["current_price"][name] for name in ("usd", "btc", "eth")} == {
        "usd": 71002.5,
        "btc": 1,
        "eth": 2,
    }
    assert len(market["current_price"]) == len(CATALOG.assets) + 1
    for unknown in ("market_cap", "total_volume", "ath", "fully_diluted_valuation", "high_24h"):
        assert market[unknown] == {}
    for unknown in ("circulating_supply", "max_supply", "price_change_24h", "price_change_percentage_24h"):
        assert market[unknown] is None
    assert [ticker["market"]["identifier"] for ticker in coin["tickers"]] == ["kraken"]
    short = await ask(client.get_coin_by_id, id="bitcoin", market_data=False, tickers=False)
    assert not {"market_data", "tickers"} & short.keys()


async def test_its_past_is_that_of_the_candles(tmp_path: Path, database_url: str) -> None:
    """Changes by window and currency, extremes of the day, a line of seven days."""
    store_minutes(database_url, "BTC", "71000", [1441, 61, 60])
    store_minutes(database_url, "ETH", "35500", [1441, 9])
    async with live(tmp_path, database_url=database_url) as service:
        coin = await ask(client_of(service.url).get_coin_by_id, id="bitcoin", sparkline=True)
        market = coin["market_data"]
        assert (market["high_24h"], market["low_24h"]) == ({"usd": 71002.5}, {"usd": 71000})
        assert (market["price_change_24h"], market["price_change_percentage_24h"]) == (2.5, 0.00352)
        changes = market["price_change_percentage_24h_in_currency"]
        assert (changes["usd"], changes["btc"], changes["eth"]) == (0.00352, 0, -50)
        assert market["price_change_percentage_1h_in_currency"]["usd"] == 0.00352
        assert (market["price_change_percentage_7d"], market["price_change_percentage_7d_in_currency"]) == (None, {})
        assert 71000 in market["sparkline_7d"]["price"]


async def test_a_coin_without_a_fresh_price_has_no_price(service: Live) -> None:
    """Its names stay, and when it had one last."""
    service.publish("BTC", state=AnswerState.STALE)
    coin = await ask(client_of(service.url).get_coin_by_id, id="bitcoin")
    assert (coin["market_data"]["current_price"], coin["tickers"]) == ({}, [])


async def test_tickers_are_chosen_by_exchange_and_page(service: Live) -> None:
    """One exchange that is not known spoils nothing; only such ones are refused with those there are."""
    for exchange in CATALOG.exchanges:
        offer(service, exchange, "71000")
    tickers = client_of(service.url).get_coin_ticker_by_id
    everything = await ask(tickers, id="bitcoin")
    assert (everything["name"], len(everything["tickers"])) == ("Bitcoin", len(CATALOG.exchanges))
    some = await ask(tickers, id="bitcoin", exchange_ids="gdax,nope,okex")
    assert [ticker["market"]["identifier"] for ticker in some["tickers"]] == ["gdax", "okex"]
    assert (await ask(tickers, id="bitcoin", page=2))["tickers"] == []
    with pytest.raises(ValueError, match="there are crypto_com, gate, gdax"):
        await ask(tickers, id="bitcoin", exchange_ids="nope")


async def test_a_day_s_price_is_that_of_its_midnight(tmp_path: Path, database_url: str) -> None:
    """In each currency that had one; a day without prices has no market data; tomorrow is refused."""
    store_minutes(database_url, "BTC", "50", [0], MIDNIGHT - timedelta(minutes=1))
    store_minutes(database_url, "BTC", "60", [0], MIDNIGHT)
    store_minutes(database_url, "ETH", "25", [30], MIDNIGHT)
    async with live(tmp_path, database_url=database_url) as service:
        history = client_of(service.url).get_coin_history_by_id
        for form in ("%d-%m-%Y", "%Y-%m-%d"):
            day = await ask(history, id="bitcoin", date=MIDNIGHT.strftime(form), localization="false")
            assert day["market_data"]["current_price"] == {"usd": 50, "btc": 1, "eth": 2}
            assert (day["market_data"]["market_cap"], day["market_data"]["total_volume"]) == ({}, {})
        assert "market_data" not in await ask(history, id="bitcoin", date="30-12-2017")
        for wrong in (f"{MIDNIGHT + timedelta(days=2):%d-%m-%Y}", "soon"):
            with pytest.raises(ValueError, match="'field': 'date'"):
                await ask(history, id="bitcoin", date=wrong)
