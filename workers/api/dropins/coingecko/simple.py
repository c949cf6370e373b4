"""Prices of many coins in many currencies.

GET /simple/price                     ids, names, symbols, vs_currencies, precision, include_...
GET /simple/supported_vs_currencies
GET /simple/token_price/{platform}    nothing: no addresses of contracts are known here
GET /exchange_rates                   what one bitcoin is worth
GET /ping
"""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from workers.api.base.callers.auth import ApiCaller, charge, charge_prices
from workers.api.base.context import Parts
from workers.api.base.problems import ProblemError
from workers.api.dropins.coingecko.answers import TAGS, Flag, Precision, json_answer
from workers.api.dropins.coingecko.numbers import change_percent, number, quotient, rounded
from workers.api.dropins.coingecko.parameters import read_decimals, read_words
from workers.api.dropins.coingecko.selection import (
    USD,
    all_currencies,
    coin_by_id,
    currency_names,
    read_currencies,
    select_coins,
    usd_of,
)
from workers.api.dropins.coins import coin_of
from workers.api.history.history import History

_BITCOIN = "bitcoin"


@get("/ping", tags=TAGS, sync_to_thread=False)
def ping(caller: NamedDependency[ApiCaller]) -> dict[str, str]:  # noqa: ARG001
    """Is the service there?"""
    return {"gecko_says": "(V3) To the Moon!"}


@get("/simple/supported_vs_currencies", tags=TAGS, sync_to_thread=False)
def supported_vs_currencies(parts: NamedDependency[Parts], caller: NamedDependency[ApiCaller]) -> list[str]:  # noqa: ARG001
    """USD, and the assets of this node by their symbols."""
    return currency_names(parts.prices)


@get("/simple/token_price/{platform:str}", tags=TAGS, sync_to_thread=False)
def token_price(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    platform: FromPath[str],  # noqa: ARG001
    contract_addresses: FromQuery[str],
    vs_currencies: FromQuery[str],
) -> dict[str, Any]:
    """Always empty: as an unknown id is left out, so is a contract, and no contract is known here."""
    read_words(contract_addresses, "contract_addresses")
    read_currencies(parts.prices, vs_currencies)
    return {}


@get("/simple/price", tags=TAGS)
async def simple_price(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    history: NamedDependency[History],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    vs_currencies: FromQuery[str],
    ids: FromQuery[str | None] = None,
    names: FromQuery[str | None] = None,
    symbols: FromQuery[str | None] = None,
    include_market_cap: Flag = False,
    include_24hr_vol: Flag = False,
    include_24hr_change: Flag = False,
    include_last_updated_at: Flag = False,
    precision: Precision = "full",
) -> Response[bytes]:
    """Prices by CoinGecko id, name or symbol, and currency."""
    prices = parts.prices
    wanted = select_coins(prices, ids, names, symbols)
    if wanted is None:
        raise ProblemError(422, "missing_parameter", "Missing parameter ids (or names, or symbols)", "ids")
    currencies, decimals = read_currencies(prices, vs_currencies), read_decimals(precision)
    pasts = await history.past.of(prices.assets) if include_24hr_change else {}
    now_ns = parts.context.clock.monotonic_ns()
    units = {currency: currency.usd(prices, now_ns) for currency in currencies}
    answer: dict[str, dict[str, Any]] = {}
    for called, asset in wanted.items():
        entry = answer[called] = {}
        price = prices.read(asset, now_ns)
        usd = usd_of(price)
        for currency, unit in units.items():
            if usd is None or unit is None:
                continue
            now = quotient(usd, unit)
            entry[currency.name] = number(rounded(now, decimals))
            if include_market_cap:
                entry[f"{currency.name}_market_cap"] = None
            if include_24hr_vol:
                entry[f"{currency.name}_24h_vol"] = None
            if include_24hr_change:
                entry[f"{currency.name}_24h_change"] = change_percent(
                    now, currency.past(prices, pasts, asset).get("24h")
                )
        if include_last_updated_at and entry:
            entry["last_updated_at"] = price.timestamp_ms // 1000
    charge_prices(parts, request.scope, {prices.assets[wanted[called]] for called, entry in answer.items() if entry})
    return json_answer(answer)


@get("/exchange_rates", tags=TAGS, sync_to_thread=False)
def exchange_rates(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
) -> Response[bytes]:
    """What one bitcoin is worth in USD and in each asset that has a fresh price."""
    prices, now_ns = parts.prices, parts.context.clock.monotonic_ns()
    price = prices.read(coin_by_id(prices, _BITCOIN), now_ns)
    bitcoin = usd_of(price)
    if bitcoin is None:
        raise ProblemError(503, price.code, "no fresh price of bitcoin", headers={"Retry-After": "1"})
    rates: dict[str, Any] = {}
    for currency in all_currencies(prices):
        if (unit := currency.usd(prices, now_ns)) is None:
            continue
        asset = "" if currency.asset is None else prices.assets[currency.asset]
        rates[currency.name] = {
            "name": coin_of(asset).name if asset else "US Dollar",
            "unit": asset or "$",
            "value": number(quotient(bitcoin, unit)),
            "type": "fiat" if currency.name == USD else "crypto",
        }
    charge(parts, request.scope, len(rates) - 1)  # USD has no price
    return json_answer({"rates": rates})
