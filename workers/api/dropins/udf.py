"""TradingView's Universal Data Feed, for its charting library: datafeedUrl "http://<node>:9090/udf".

    GET /udf/config                     what this feed can
    GET /udf/time                       the node's time, in seconds
    GET /udf/symbols?symbol=BTC         one symbol; also BTCUSD, BTC/USD, TRINITY:BTC, Crypto.BTC/USD
    GET /udf/search?query=bit           symbols by name; type, exchange, limit
    GET /udf/history                    candles: symbol, resolution, from, to, countback

Rules: bars are the candles of price_minute; a bucket without a price has no bar, and where there is none at all the
answer is `no_data`, with the time of the last bar before, if there is one. `countback` goes before `from`: so many bars
before `to`, across gaps. A symbol's decimals are fixed (coins.py), because a chart asks once. There are no volumes.
Errors are UDF's: {"s":"error","errmsg":...}, with our code beside it and an HTTP status of their own.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import psycopg
from litestar import MediaType, Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromQuery, QueryParameter

from trinity.clock import NS_PER_SECOND
from trinity.store.queries import load
from workers.api.base.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.base.prices import Prices
from workers.api.base.problems import DATABASE_ERRORS, ProblemError, bad_parameter, problem_of
from workers.api.dropins.coins import coin_of
from workers.api.history.candles import STEPS, Candle, Granularity, fetch_candles

EXCHANGE = "TRINITY"
TYPE = "crypto"
_RESOLUTIONS: dict[str, Granularity] = {"1": "1m", "5": "5m", "60": "1h", "1D": "1d", "D": "1d"}
RESOLUTIONS = ("1", "5", "60", "1D")
# A chart asks for 300 to 2,000 bars; a request for more gets the newest of them.
BARS_MAX = 10_000
SYMBOLS_FOUND_MAX = 50
_TIME_MAX = 32_503_680_000  # the year 3000

Seconds = Annotated[int, QueryParameter(ge=0, le=_TIME_MAX)]


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
        "symbols_types": [{"name": "crypto", "value": TYPE}],
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
) -> dict[str, Any]:
    """One symbol."""
    prices = parts.prices
    name = prices.assets[find_symbol(prices, symbol)]
    return {
        "name": name,
        "ticker": name,
        "full_name": f"{EXCHANGE}:{name}",
        "description": f"{coin_of(name).name} / US Dollar",
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
        "has_weekly_and_monthly": False,
        "intraday_multipliers": ["1", "5", "60"],
        "supported_resolutions": list(RESOLUTIONS),
        "visible_plots_set": "ohlc",
        "volume_precision": 0,
        "data_status": "streaming",
        "currency_code": "USD",
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
                    "description": f"{name} / US Dollar",
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
    resolution: FromQuery[str],
    to: Seconds,
    from_: Annotated[int | None, QueryParameter(name="from", ge=0, le=_TIME_MAX)] = None,
    countback: Annotated[int | None, QueryParameter(ge=1, le=BARS_MAX, description="so many bars before `to`")] = None,
) -> Response[bytes]:
    """Candles as parallel lists, oldest first."""
    name = parts.prices.assets[find_symbol(parts.prices, symbol)]
    granularity = _RESOLUTIONS.get(resolution)
    if granularity is None:
        raise bad_parameter("resolution", f"{resolution[:16]!r} is not one of {', '.join(RESOLUTIONS)}")
    if from_ is None and countback is None:
        raise bad_parameter("from", "say from, or countback")
    step = STEPS[granularity]
    now = datetime.fromtimestamp(parts.context.clock.wall_ns() / NS_PER_SECOND, UTC)
    end = min(datetime.fromtimestamp(to, UTC), now)
    back = countback * step if countback is not None else timedelta(seconds=max(0, to - (from_ or 0)))
    start = end - min(back, BARS_MAX * step)
    async with parts.pool.connection() as connection:
        candles = await _bars(connection, name, granularity, start, end)
        if countback is not None and len(candles) < countback:
            first = await _first_of(connection, name, granularity, countback, end)
            candles = await _bars(connection, name, granularity, first, end) if first < start else candles
        if not candles:
            return _json(await _no_data(connection, name, step, start))
    candles = candles[-countback:] if countback is not None else candles
    columns = {
        "s": "ok",
        "t": [int(candle.start.timestamp()) for candle in candles],
        "o": [float(candle.open) for candle in candles],
        "h": [float(candle.high) for candle in candles],
        "l": [float(candle.low) for candle in candles],
        "c": [float(candle.close) for candle in candles],
    }
    return _json(columns)


async def _bars(
    connection: psycopg.AsyncConnection[Any], asset: str, granularity: Granularity, start: datetime, end: datetime
) -> list[Candle]:
    """The bars that begin in the range, its end left out."""
    candles = await fetch_candles(connection, asset, granularity, start, end) if start < end else []
    return [candle for candle in candles if start <= candle.start < end]


async def _first_of(
    connection: psycopg.AsyncConnection[Any], asset: str, granularity: Granularity, count: int, end: datetime
) -> datetime:
    """Where the last `count` bars before the end begin, however large the gaps between them; the end without any."""
    parameters = {"asset": asset, "step": STEPS[granularity], "count": count, "end": end}
    row = await (await connection.execute(load("udf.first_of"), parameters)).fetchone()
    return row[0] if row is not None and row[0] is not None else end


async def _no_data(
    connection: psycopg.AsyncConnection[Any], asset: str, step: timedelta, before: datetime
) -> dict[str, Any]:
    """With the time of the last bar before."""
    row = await (await connection.execute(load("udf.last_before"), {"asset": asset, "before": before})).fetchone()
    if row is None or row[0] is None:
        return {"s": "no_data"}
    seconds = int(row[0].timestamp())
    return {"s": "no_data", "nextTime": seconds - seconds % (step // timedelta(seconds=1))}


def find_symbol(prices: Prices, symbol: str) -> int:
    """The asset that a chart's symbol means."""
    name = symbol.rpartition(":")[2].upper().removeprefix("CRYPTO.")
    asset = prices.find(name)
    if asset is None:
        asset = prices.find(name.removesuffix("USD").removesuffix("/"))
    if asset is None:
        raise ProblemError(404, "unknown_symbol", "unknown_symbol", "symbol")
    return asset


def _json(value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json", headers=headers)


def _as_udf(_request: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    body = {"s": "error", "errmsg": error.detail, "code": error.code, "field": error.field}
    return _json(body, error.status, error.headers)


def _as_wrong(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field = str(first.get("key", "")).removesuffix("_")
    detail = str(first.get("message") or error.detail)
    return _as_udf(request, ProblemError(400, "bad_parameter", f"{field}: {detail}" if field else detail, field))


def _as_away(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return _as_udf(request, problem_of(error))


ROUTER = Router(
    path="/udf",
    route_handlers=[config, server_time, symbols, search, history],
    opt={"any_parameters": True},
    exception_handlers={
        ProblemError: _as_udf,
        ValidationException: _as_wrong,
        **dict.fromkeys(DATABASE_ERRORS, _as_away),
    },
)
