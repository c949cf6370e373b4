"""GET /coins/markets: a table of coins with price, change and extremes of 24 hours, in one currency.

Rules: rows are in the catalog's order, since no market cap is known, or by id. A row's price is null while it is not
fresh, and so is all that is computed with it. Changes and extremes are those of history/past.py; in another currency
than USD the change is that of the quotient, and the extremes are not known. All CoinGecko's other columns are null.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from workers.api.base.callers.auth import ApiCaller, charge_prices
from workers.api.base.context import Parts
from workers.api.base.prices import Prices
from workers.api.base.problems import ProblemError, bad_parameter
from workers.api.dropins.coingecko.answers import TAGS, Flag, Precision, VsCurrency, json_answer
from workers.api.dropins.coingecko.numbers import (
    change_percent,
    iso_time,
    number,
    number_or_null,
    numbers,
    quotient,
    rounded,
)
from workers.api.dropins.coingecko.parameters import read_decimals, read_windows
from workers.api.dropins.coingecko.selection import read_currency, select_coins, usd_of
from workers.api.dropins.coins import coin_of
from workers.api.history.history import History
from workers.api.history.past import Past

PER_PAGE_MAX = 250
# Those by market cap and volume leave the catalog's order.
ORDERS = (
    "market_cap_desc", "market_cap_asc", "volume_desc", "volume_asc", "id_asc", "id_desc", "gecko_desc", "gecko_asc",
)  # fmt: skip
# In CoinGecko's order.
_COLUMNS = (
    "id", "symbol", "name", "image", "current_price", "market_cap", "market_cap_rank", "fully_diluted_valuation",
    "total_volume", "high_24h", "low_24h", "price_change_24h", "price_change_percentage_24h", "market_cap_change_24h",
    "market_cap_change_percentage_24h", "circulating_supply", "total_supply", "max_supply", "ath",
    "ath_change_percentage", "ath_date", "atl", "atl_change_percentage", "atl_date", "roi", "last_updated",
)  # fmt: skip
_EMPTY_ROW: Mapping[str, Any] = dict.fromkeys(_COLUMNS)


@get("/coins/markets", tags=TAGS)
async def coins_markets(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    history: NamedDependency[History],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    vs_currency: VsCurrency,
    ids: FromQuery[str | None] = None,
    names: FromQuery[str | None] = None,
    symbols: FromQuery[str | None] = None,
    category: FromQuery[str] = "",
    order: FromQuery[str] = ORDERS[0],
    per_page: Annotated[int, QueryParameter(ge=1, le=PER_PAGE_MAX)] = 100,
    page: Annotated[int, QueryParameter(ge=1, le=1_000_000)] = 1,
    sparkline: Flag = False,
    price_change_percentage: Annotated[str, QueryParameter(description="windows, as in 1h,24h,7d")] = "",
    precision: Precision = "full",
) -> Response[bytes]:
    """Coins with their prices, changes and extremes."""
    prices = parts.prices
    currency, decimals, windows = (
        read_currency(prices, vs_currency), read_decimals(precision), read_windows(price_change_percentage),
    )  # fmt: skip
    if category:
        raise ProblemError(404, "unknown_category", "category not found: this node has none", "category")
    assets = _page(prices, select_coins(prices, ids, names, symbols), order, per_page, page)
    pasts = await history.past.of(prices.assets)
    lines = await history.past.sparklines([prices.assets[asset] for asset in assets]) if sparkline else {}
    now_ns = parts.context.clock.monotonic_ns()
    unit = currency.usd(prices, now_ns)
    rows, priced = [], []
    for asset in assets:
        price = prices.read(asset, now_ns)
        name = prices.assets[asset]
        usd = usd_of(price)
        now = None if usd is None or unit is None else quotient(usd, unit)
        then = currency.past(prices, pasts, asset)
        row = _identity(name) | _prices(now, then, pasts[name] if currency.asset is None else Past(), decimals)
        row["last_updated"] = iso_time(price.timestamp_ms) if price.timestamp_ms else None
        if sparkline:
            row["sparkline_in_7d"] = {"price": numbers(lines[name])}
        for window in windows:
            row[f"price_change_percentage_{window}_in_currency"] = change_percent(now, then.get(window))
        rows.append(row)
        priced += [] if row["current_price"] is None else [name]
    charge_prices(parts, request.scope, priced)
    return json_answer(rows)


def _page(prices: Prices, wanted: Mapping[str, int] | None, order: str, per_page: int, page: int) -> Sequence[int]:
    if order not in ORDERS:
        raise bad_parameter("order", f"{order[:24]!r} is not one of {', '.join(ORDERS)}")
    assets = list(range(len(prices.assets))) if wanted is None else sorted(set(wanted.values()))
    if order.startswith("id_"):
        assets.sort(key=lambda asset: coin_of(prices.assets[asset]).coingecko_id, reverse=order == "id_desc")
    return assets[(page - 1) * per_page : page * per_page]


def _identity(asset: str) -> dict[str, Any]:
    coin = coin_of(asset)
    return {**_EMPTY_ROW, "id": coin.coingecko_id, "symbol": asset.lower(), "name": coin.name, "image": ""}


def _prices(now: Decimal | None, then: Mapping[str, Decimal], past: Past, decimals: int | None) -> dict[str, Any]:
    if now is None:
        return {}
    before = then.get("24h")
    return {
        "current_price": number(rounded(now, decimals)),
        "high_24h": None if past.high is None else number(rounded(max(now, past.high), decimals)),
        "low_24h": None if past.low is None else number(rounded(min(now, past.low), decimals)),
        "price_change_24h": number_or_null(None if before is None else now - before),
        "price_change_percentage_24h": change_percent(now, before),
    }
