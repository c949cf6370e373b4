"""What each exchange says of one coin, as CoinGecko's tickers.

Rules: `last` is the price that the consensus takes from the exchange: the middle between bid and ask where there is a
book. While an exchange has no good price it has no ticker. `is_anomaly` says that the consensus left the price out. A
simulated exchange is called so. Volumes and scores are not known.
"""

from decimal import Decimal
from typing import Any

from trinity.memory.answer_table import VERDICT_REJECTED, AnswerState, served_state
from trinity.memory.node import NodeMemory
from trinity.observe.readings import read_indexes
from workers.api.base.prices import Prices
from workers.api.dropins.coingecko.numbers import iso_time, number, number_or_null, quotient, round_to_digits
from workers.api.dropins.coingecko.selection import usd_of
from workers.api.dropins.coins import EXCHANGES, coin_of

_CONVERTED = ("BTC", "ETH")
_SPREAD_DIGITS = 6
_USD = "USD"


def tickers_of(memory: NodeMemory, prices: Prices, asset: int, now_ns: int) -> list[dict[str, Any]]:
    """The tickers of all exchanges that have a good price of the asset, in the catalog's order."""
    catalog = memory.card.catalog
    name = prices.assets[asset]
    rates = {quote: None if index is None else Decimal(str(index)) for quote, index in read_indexes(memory).items()}
    tickers = []
    for market in catalog.markets:
        if market.asset != name:
            continue
        exchange = catalog.exchange_index(market.exchange)
        answer = memory.answers.read(memory.answers.row_of(asset, exchange))
        if answer is None or served_state(answer, now_ns) is not AnswerState.GOOD:
            continue
        last = Decimal(int(answer[0]["price"])).scaleb(-int(answer[0]["scale"]))
        moment = iso_time(int(answer[0]["timestamp_ms"]))
        rate = Decimal(1) if market.quote == _USD else rates.get(market.quote)
        tickers.append(
            {
                "base": name,
                "target": market.quote,
                "market": _market_of(market.exchange, memory.card.simulated),
                "last": number(last),
                "volume": None,
                "converted_last": _converted(prices, last, rate, now_ns),
                "converted_volume": {},
                "trust_score": None,
                "bid_ask_spread_percentage": number_or_null(_spread_percent(memory, exchange, asset)),
                "timestamp": moment,
                "last_traded_at": moment,
                "last_fetch_at": moment,
                "is_anomaly": memory.answers.read_verdict(exchange, asset) >= VERDICT_REJECTED,
                "is_stale": False,
                "trade_url": "",
                "token_info_url": None,
                "coin_id": coin_of(name).coingecko_id,
                "coin_mcap_usd": None,
                "target_coin_id": "" if market.quote == _USD else coin_of(market.quote).coingecko_id,
            }
        )
    return tickers


def _market_of(exchange: str, simulated: bool) -> dict[str, Any]:
    known = EXCHANGES[exchange]
    name = f"{known.name} (simulated)" if simulated else known.name
    return {"name": name, "identifier": known.coingecko_id, "has_trading_incentive": None}


def _converted(prices: Prices, last: Decimal, rate: Decimal | None, now_ns: int) -> dict[str, Any]:
    """In USD by the stablecoin's index, and in coins by their fresh prices; what is not known is left out."""
    if rate is None:
        return {}
    usd = last * rate
    converted = {"usd": number(usd)}
    for coin in _CONVERTED:
        index = prices.find(coin)
        unit = None if index is None else usd_of(prices.read(index, now_ns))
        if unit is not None:
            converted[coin.lower()] = number(quotient(usd, unit))
    return converted


def _spread_percent(memory: NodeMemory, exchange: int, asset: int) -> Decimal | None:
    quote = memory.prices.read(exchange, asset)
    if quote is None or quote.bid is None or quote.ask is None or not quote.ask.price:
        return None
    return round_to_digits((quote.ask.price - quote.bid.price) / quote.ask.price * 100, _SPREAD_DIGITS)
