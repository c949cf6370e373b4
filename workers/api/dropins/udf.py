"""TradingView's Universal Data Feed, for its charting library: datafeedUrl "http://<node>:9090/udf".

    GET /udf/config                     what this feed can
    GET /udf/time                       the node's time, in seconds
    GET /udf/symbols?symbol=BTC         one symbol; also BTCUSD, BTC/USD, TRINITY:BTC, Crypto.BTC/USD
    GET /udf/symbol_info?group=TRINITY  all symbols as a table
    GET /udf/search?query=bit           symbols by name; type, exchange, limit
    GET /udf/history                    bars: symbol, resolution, from, to, countback
    GET /udf/quotes?symbols=BTC,ETH     prices now, and the day so far

Rules: bars are made of the minutes of price_minute (bars.py); a bar without a price is not there, and where there is
none at all the answer is `no_data`, with the time of the last bar before, if there is one. `countback` goes before
`from`: so many bars before `to`, across gaps. What is ahead of now is not there yet. A symbol's decimals are fixed
(coins.py), because a chart asks once. There are no volumes. A quote that cannot be given is an error at its place and
spoils no other. Errors are UDF's: {"s":"error","errmsg":...}, with our code and field beside it and an HTTP status of
their own.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromQuery, QueryParameter

from trinity.clock import NS_PER_SECOND
from workers.api.base.callers.auth import ApiCaller, charge_prices
from workers.api.base.context import Parts
from workers.api.base.parameters import NAMES_MAX
from workers.api.base.prices import Price, Prices
from workers.api.base.problems import DATABASE_ERRORS, ProblemError, bad_parameter, problem_of, wrong_parameter
from workers.api.dropins.bars import BARS_MAX, RESOLUTIONS, Day, fetch_bars, fetch_days, last_before
from workers.api.dropins.coins import coin_of

EXCHANGE = "TRINITY"
TYPE = "crypto"
CURRENCY = "USD"
# Older charts leave the 1 out.
_SHORT = {"D": "1D", "W": "1W"}
_MULTIPLIERS = [name for name in RESOLUTIONS if name.isdigit()]
SYMBOLS_FOUND_MAX = 50
_TIME_MAX = 32_503_680_000  # the year 3000

Currency = Annotated[str, QueryParameter(name="currencyCode", description="USD; there is no other")]
_EPOCH = datetime.fromtimestamp(0, UTC)


@get("/config", tags=["udf"], sync_to_thread=False)
def config(caller: NamedDependency[ApiCaller]) -> dict[str, Any]:  # noqa: ARG001
    """What this feed can."""
    return {
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": False,
        "supports_timescale_marks": False,
        "supports_time": True,
        "supported_resolutions": list(RESOLUTIONS),
        "exchanges": [{"value": EXCHANGE, "name": "Trinity", "desc": "Trinity, consensus of the exchanges"}],
        "symbols_types": [{"name": "Crypto", "value": TYPE}],
    }


@get("/time", media_type=MediaType.TEXT, tags=["udf"], sync_to_thread=False)
def server_time(parts: NamedDependency[Parts], caller: NamedDependency[ApiCaller]) -> str:  # noqa: ARG001
    """The node's wall clock, in seconds since 1970."""
    return str(parts.context.clock.wall_ns() // NS_PER_SECOND)


@get("/symbols", tags=["udf"], sync_to_thread=False)
def symbols(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    symbol: FromQuery[str],
    currency: Currency = CURRENCY,
) -> dict[str, Any]:
    """One symbol."""
    _check_currency(currency)
    name = parts.prices.assets[find_symbol(parts.prices, symbol)]
    return {
        "name": name,
        "ticker": name,
        "full_name": f"{EXCHANGE}:{name}",
        "description": describe(name),
        "type": TYPE,
        "session": "24x7",
        "timezone": "Etc/UTC",
        "exchange": EXCHANGE,
        "listed_exchange": EXCHANGE,
        "format": "price",
        "minmov": 1,
        "pricescale": 10 ** coin_of(name).chart_decimals,
        "has_intraday": True,
        "has_daily": True,
        "has_weekly_and_monthly": True,
        "intraday_multipliers": _MULTIPLIERS,
        "daily_multipliers": ["1"],
        "weekly_multipliers": ["1"],
        "monthly_multipliers": [],
        "supported_resolutions": list(RESOLUTIONS),
        "visible_plots_set": "ohlc",
        "volume_precision": 0,
        "data_status": "streaming",
        "currency_code": CURRENCY,
    }


@get("/symbol_info", tags=["udf"], sync_to_thread=False)
def symbol_info(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    group: Annotated[str, QueryParameter(description="TRINITY, or all when left empty")] = "",
) -> dict[str, Any]:
    """All symbols as a table: a list has a value for each, anything else is that of all."""
    if group.upper() not in ("", EXCHANGE):
        raise ProblemError(404, "unknown_group", f"{group[:16]!r} is not one of {EXCHANGE}", "group")
    names = parts.prices.assets
    return {
        "symbol": names,
        "ticker": names,
        "description": [describe(name) for name in names],
        "exchange-listed": EXCHANGE,
        "exchange-traded": EXCHANGE,
        "type": TYPE,
        "session-regular": "24x7",
        "timezone": "Etc/UTC",
        "minmovement": 1,
        "pricescale": [10 ** coin_of(name).chart_decimals for name in names],
        "has-intraday": True,
        "has-no-volume": True,
        "has-daily": True,
        "has-weekly-and-monthly": True,
        "intraday-multipliers": [_MULTIPLIERS] * len(names),
        "supported-resolutions": [list(RESOLUTIONS)] * len(names),
        "volume-precision": 0,
        "currency-code": CURRENCY,
    }


@get("/search", tags=["udf"], sync_to_thread=False)
def search(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    text: Annotated[str, QueryParameter(name="query")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 30,
    kind: Annotated[str, QueryParameter(name="type", description="crypto, or all when left empty")] = "",
    exchange: Annotated[str, QueryParameter(description="TRINITY, or all when left empty")] = "",
) -> list[dict[str, str]]:
    """Symbols whose name or ticker holds the query."""
    if kind.lower() not in ("", TYPE) or exchange.upper() not in ("", EXCHANGE):
        return []
    found = []
    for asset in parts.prices.assets:
        name = coin_of(asset).name
        if text.lower() in f"{parts.prices.called(asset)} {name}".lower():
            found.append(
                {
                    "symbol": asset,
                    "full_name": f"{EXCHANGE}:{asset}",
                    "description": describe(asset),
                    "exchange": EXCHANGE,
                    "ticker": asset,
                    "type": TYPE,
                }
            )
    return found[: min(limit, SYMBOLS_FOUND_MAX)]


@get("/history", tags=["udf"])
async def history(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    symbol: FromQuery[str],
    resolution: Annotated[str, QueryParameter(description=", ".join(RESOLUTIONS))],
    to: Annotated[int | None, QueryParameter(le=_TIME_MAX, description="seconds since 1970; now")] = None,
    from_: Annotated[int | None, QueryParameter(name="from", le=_TIME_MAX, description="seconds since 1970")] = None,
    countback: Annotated[int | None, QueryParameter(ge=1, le=BARS_MAX, description="so many bars before `to`")] = None,
    currency: Currency = CURRENCY,
) -> Response[bytes]:
    """Bars as parallel lists, oldest first."""
    name = parts.prices.assets[find_symbol(parts.prices, symbol)]
    step = RESOLUTIONS.get(_SHORT.get(resolution, resolution))
    if step is None:
        raise bad_parameter("resolution", f"{resolution[:16]!r} is not one of {', '.join(RESOLUTIONS)}")
    _check_currency(currency)
    now = parts.context.clock.wall_ns() // NS_PER_SECOND
    to = now if to is None else to
    if countback is None and from_ is None:
        raise bad_parameter("from", "say when the range begins, or countback")
    if countback is None and from_ is not None and from_ > to:
        raise bad_parameter("from", f"{from_} must not be after to={to}")
    start = _EPOCH if countback is not None else _moment_of(from_ or 0)
    end = _moment_of(min(to, now + 1))  # the bar that begins in this second is there
    async with parts.pool.connection() as connection:
        bars = await fetch_bars(connection, name, step, start, end, countback or BARS_MAX) if start < end else []
        if not bars:
            before = await last_before(connection, name, step, min(start, end))
            return _json({"s": "no_data"} | ({} if before is None else {"nextTime": before}))
    columns = {
        "s": "ok",
        "t": [bar.time for bar in bars],
        "o": [float(bar.open) for bar in bars],
        "h": [float(bar.high) for bar in bars],
        "l": [float(bar.low) for bar in bars],
        "c": [float(bar.close) for bar in bars],
    }
    return _json(columns)


@get("/quotes", tags=["udf"])
async def quotes(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    symbols: Annotated[str, QueryParameter(description="symbols, separated by commas")],
) -> Response[bytes]:
    """Prices now, and what happened since midnight UTC; what has no fresh price is an error at its place."""
    names = symbols.split(",")
    if len(names) > NAMES_MAX:
        raise ProblemError(400, "too_many_assets", f"at most {NAMES_MAX} symbols, not {len(names)}", "symbols")
    clock = parts.context.clock
    now_ns = clock.monotonic_ns()
    found = {name: _find(parts.prices, name) for name in names}
    read = {name: parts.prices.read(asset, now_ns) for name, asset in found.items() if asset is not None}
    charge_prices(parts, request.scope, [price.asset for price in read.values() if price.is_fresh])
    days = await _days_of(parts, [price.asset for price in read.values()])
    return _json({"s": "ok", "d": [_quote_of(name, read.get(name), days) for name in names]})


def _quote_of(name: str, price: Price | None, days: dict[str, Day]) -> dict[str, Any]:
    """One symbol's quote, or why there is none; `name` as it was asked for."""
    if price is None or not price.is_fresh:
        code = "unknown_symbol" if price is None else price.code
        return {"s": "error", "n": name, "errmsg": code, "v": {}}
    asset, usd = price.asset, price.usd
    values: dict[str, Any] = {
        "short_name": asset,
        "exchange": EXCHANGE,
        "description": describe(asset),
        "original_name": f"{EXCHANGE}:{asset}",
        "lp": float(usd),
    }
    day = days.get(asset)
    if day is not None and day.open is not None and day.high is not None and day.low is not None:
        values |= {
            "ch": float(usd - day.open),
            "chp": round(float((usd - day.open) / day.open * 100), 4),
            "open_price": float(day.open),
            "high_price": float(max(usd, day.high)),
            "low_price": float(min(usd, day.low)),
        }
    if day is not None and day.previous_close is not None:
        values["prev_close_price"] = float(day.previous_close)
    return {"s": "ok", "n": name, "v": values}


async def _days_of(parts: Parts, assets: list[str]) -> dict[str, Day]:
    """The days so far; none while the database is away, and prices go on without it."""
    try:
        async with parts.pool.connection() as connection:
            now = _moment_of(parts.context.clock.wall_ns() // NS_PER_SECOND)
            return await fetch_days(connection, assets, now)
    except DATABASE_ERRORS:
        return {}


def describe(asset: str) -> str:
    """What a symbol is, for people."""
    return f"{coin_of(asset).name} / US Dollar"


def find_symbol(prices: Prices, symbol: str) -> int:
    """The asset that a chart's symbol means."""
    asset = _find(prices, symbol)
    if asset is None:
        detail = f"{symbol[:32]!r} is unknown; /udf/search finds all that there are"
        raise ProblemError(404, "unknown_symbol", detail, "symbol")
    return asset


def _find(prices: Prices, symbol: str) -> int | None:
    name = symbol.rpartition(":")[2].upper().removeprefix("CRYPTO.")
    asset = prices.find(name)
    return prices.find(name.removesuffix("USD").removesuffix("/")) if asset is None else asset


def _check_currency(currency: str) -> None:
    if currency.upper() != CURRENCY:
        raise bad_parameter("currencyCode", f"{currency[:16]!r} is not one of {CURRENCY}")


def _moment_of(seconds: int) -> datetime:
    """Nothing is older than 1970: charts ask for times before it."""
    return datetime.fromtimestamp(max(0, seconds), UTC)


def _json(value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json", headers=headers)


def _as_udf(_request: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    field, message = error.field or "", error.detail
    message = message if message.startswith(field) else f"{field}: {message}"  # all that a chart shows
    body = {"s": "error", "errmsg": message, "code": error.code, "field": error.field}
    return _json(body, error.status, error.headers)


def _as_wrong(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    return _as_udf(request, wrong_parameter(request, error))


def _as_away(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return _as_udf(request, problem_of(error))


ROUTER = Router(
    path="/udf",
    route_handlers=[config, server_time, symbols, symbol_info, search, history, quotes],
    opt={"any_parameters": True},
    exception_handlers={
        ProblemError: _as_udf,
        ValidationException: _as_wrong,
        **dict.fromkeys(DATABASE_ERRORS, _as_away),
    },
)
