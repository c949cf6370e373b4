"""One coin.

    GET /coins/{id}                 what is known of it: market_data, tickers
    GET /coins/{id}/history?date=   its price at midnight (UTC) of a day, in every currency
    GET /coins/{id}/tickers         each exchange's own price of it

Rules: numbers that this node does not know are null, texts, lists and tables are empty. Tables by currency hold the
currencies in which the number is known.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.base.prices import Price, Prices
from workers.api.base.problems import bad_parameter
from workers.api.dashboard.node_state import Dashboard
from workers.api.dropins.coingecko.answers import TAGS, Flag, json_answer, now_of
from workers.api.dropins.coingecko.numbers import change_percent, iso_time, number, numbers, quotient
from workers.api.dropins.coingecko.parameters import read_date, read_words
from workers.api.dropins.coingecko.selection import USD, all_currencies, coin_by_id, usd_of
from workers.api.dropins.coingecko.tickers import tickers_of
from workers.api.dropins.coins import EXCHANGES, coin_of
from workers.api.history.history import History
from workers.api.history.past import Past

TICKERS_A_PAGE = 100
_NO_PICTURE = {"thumb": "", "small": "", "large": ""}
# Numbers and moments of CoinGecko's that nothing here is known of.
_NULL = (
    "block_time_in_minutes", "hashing_algorithm", "public_notice", "genesis_date", "sentiment_votes_up_percentage",
    "sentiment_votes_down_percentage", "watchlist_portfolio_users", "market_cap_rank", "asset_platform_id",
)  # fmt: skip
_NULL_MARKET = (
    "total_value_locked", "mcap_to_tvl_ratio", "fdv_to_tvl_ratio", "roi", "market_cap_rank",
    "market_cap_change_24h", "market_cap_change_percentage_24h", "total_supply", "max_supply", "circulating_supply",
    "price_change_percentage_200d", "price_change_percentage_1y",
)  # fmt: skip
_EMPTY_MARKET = (
    "ath", "ath_change_percentage", "ath_date", "atl", "atl_change_percentage", "atl_date", "market_cap",
    "fully_diluted_valuation", "total_volume", "market_cap_change_24h_in_currency",
    "market_cap_change_percentage_24h_in_currency", "price_change_percentage_200d_in_currency",
    "price_change_percentage_1y_in_currency",
)  # fmt: skip
_WINDOWS = ("24h", "7d", "14d", "30d", "60d")


@get("/coins/{coin_id:str}", tags=TAGS)
async def coin(
    parts: NamedDependency[Parts],
    history: NamedDependency[History],
    dashboard: NamedDependency[Dashboard],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    tickers: Flag = True,
    market_data: Flag = True,
    sparkline: Flag = False,
) -> Response[bytes]:
    """A coin with its market data and tickers."""
    prices = parts.prices
    asset = coin_by_id(prices, coin_id)
    name = prices.assets[asset]
    now_ns = parts.context.clock.monotonic_ns()
    price = prices.read(asset, now_ns)
    updated = iso_time(price.timestamp_ms) if price.timestamp_ms else None
    answer = {
        **_identity(name),
        **dict.fromkeys(_NULL),
        "web_slug": coin_of(name).coingecko_id,
        "platforms": {}, "detail_platforms": {}, "categories": [], "preview_listing": False,
        "has_supply_breakdown": False, "additional_notices": [], "description": {"en": ""}, "links": {},
        "image": _NO_PICTURE, "country_origin": "", "status_updates": [],
    }  # fmt: skip
    if market_data:
        pasts = await history.past.of(prices.assets)
        answer["market_data"] = _market_data(prices, asset, price, pasts, now_ns) | {"last_updated": updated}
        if sparkline:
            line = (await history.past.sparklines([name]))[name]
            answer["market_data"]["sparkline_7d"] = {"price": numbers(line)}
    answer["last_updated"] = updated
    if tickers:
        answer["tickers"] = tickers_of(dashboard.memory, prices, asset, now_ns)
    return json_answer(answer)


@get("/coins/{coin_id:str}/tickers", tags=TAGS, sync_to_thread=False)
def coin_tickers(
    parts: NamedDependency[Parts],
    dashboard: NamedDependency[Dashboard],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    exchange_ids: FromQuery[str] = "",
    page: Annotated[int, QueryParameter(ge=1, le=1_000_000)] = 1,
) -> Response[bytes]:
    """What each exchange says of a coin."""
    asset = coin_by_id(parts.prices, coin_id)
    ids = {exchange.coingecko_id for exchange in EXCHANGES.values()}
    wanted = set(read_words(exchange_ids, "exchange_ids")) or ids
    if not wanted & ids:
        raise bad_parameter("exchange_ids", f"no such exchange: there are {', '.join(sorted(ids))}")
    found = tickers_of(dashboard.memory, parts.prices, asset, parts.context.clock.monotonic_ns())
    found = [ticker for ticker in found if ticker["market"]["identifier"] in wanted]
    found = found[(page - 1) * TICKERS_A_PAGE : page * TICKERS_A_PAGE]
    return json_answer({"name": coin_of(parts.prices.assets[asset]).name, "tickers": found})


@get("/coins/{coin_id:str}/history", tags=TAGS)
async def coin_history(
    parts: NamedDependency[Parts],
    history: NamedDependency[History],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    date: Annotated[str, QueryParameter(description="31-01-2026 or 2026-01-31")],
) -> Response[bytes]:
    """A coin's price at the midnight with which a day begins; without `market_data` where none is stored."""
    prices = parts.prices
    name = prices.assets[coin_by_id(prices, coin_id)]
    midnight = read_date(date, "date", now_of(parts).date())
    closes = await history.past.closes_at(prices.assets, [midnight])
    answer = {**_identity(name), "image": _NO_PICTURE, "public_interest_stats": {}}
    if (name, midnight) in closes:
        answer["market_data"] = {
            "current_price": _at(prices, closes, name, midnight),
            "market_cap": {},
            "total_volume": {},
        }
    return json_answer(answer)


def _identity(asset: str) -> dict[str, Any]:
    known = coin_of(asset)
    return {
        "id": known.coingecko_id, "symbol": asset.lower(), "name": known.name, "localization": {"en": known.name},
    }  # fmt: skip


def _at(
    prices: Prices, closes: Mapping[tuple[str, datetime], Decimal], asset: str, moment: datetime
) -> dict[str, msgspec.Raw]:
    """The asset's price of then in each currency that had one."""
    usd = closes[asset, moment]
    units = {name.lower(): closes.get((name, moment)) for name in prices.assets}
    return {USD: number(usd)} | {name: number(quotient(usd, unit)) for name, unit in units.items() if unit}


def _market_data(prices: Prices, asset: int, price: Price, pasts: Mapping[str, Past], now_ns: int) -> dict[str, Any]:
    usd, past = usd_of(price), pasts[prices.assets[asset]]
    units = {currency: currency.usd(prices, now_ns) for currency in all_currencies(prices)}
    now = {currency: quotient(usd, unit) for currency, unit in units.items() if usd is not None and unit is not None}
    then = {currency: currency.past(prices, pasts, asset) for currency in now}

    def by_currency(window: str, make: Callable[[Decimal, Decimal], Any]) -> dict[str, Any]:
        return {
            currency.name: make(value, then[currency][window])
            for currency, value in now.items()
            if window in then[currency]
        }

    changes = {window: by_currency(window, change_percent) for window in ("1h", *_WINDOWS)}
    differences = by_currency("24h", lambda value, before: number(value - before))
    return {
        **dict.fromkeys(_NULL_MARKET),
        **{name: {} for name in _EMPTY_MARKET},
        "current_price": {currency.name: number(value) for currency, value in now.items()},
        "high_24h": {} if usd is None or past.high is None else {USD: number(max(usd, past.high))},
        "low_24h": {} if usd is None or past.low is None else {USD: number(min(usd, past.low))},
        "price_change_24h": differences.get(USD),
        "price_change_24h_in_currency": differences,
        **{f"price_change_percentage_{window}": changes[window].get(USD) for window in _WINDOWS},
        **{f"price_change_percentage_{window}_in_currency": change for window, change in changes.items()},
    }
