"""The part of CoinGecko's API that is about prices, for its clients: change the base URL and go on.

    GET /api/v3/ping
    GET /api/v3/simple/price                         ids (or symbols), vs_currencies
    GET /api/v3/simple/supported_vs_currencies
    GET /api/v3/coins/list                           include_platform
    GET /api/v3/coins/{id}/market_chart              vs_currency, days, interval
    GET /api/v3/coins/{id}/market_chart/range        vs_currency, from, to, interval

Rules: ids are CoinGecko's (coins.py). A price is in USD, or in any asset of this node by its symbol: the quotient of
two fresh prices. As with CoinGecko, an id that is not known is left out and so is a currency; a price that is not
fresh is left out as well, never sent as if it were. What this node does not know (market caps, volumes) is null or an
empty list. Errors are CoinGecko's: {"error":"coin not found"}, with our code beside it.
"""

import functools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromPath, FromQuery, QueryParameter

from trinity.clock import NS_PER_SECOND
from trinity.limits import ASSETS_MAX
from workers.api.base.auth import ApiCaller, charge
from workers.api.base.context import Parts
from workers.api.base.prices import Price, Prices
from workers.api.base.problems import DATABASE_ERRORS, ProblemError, bad_parameter, problem_of
from workers.api.dropins.coins import coin_of
from workers.api.history.candles import STEPS, Candle, Granularity, fetch_candles, plain

# Days that the database keeps; "max" means as many.
DAYS_MAX = 93
# As CoinGecko chooses: five minutes for a day, hours for a quarter, then days.
_GRANULARITIES: tuple[tuple[timedelta, Granularity], ...] = ((timedelta(days=1), "5m"), (timedelta(days=90), "1h"))
_INTERVALS: dict[str, Granularity] = {"5m": "5m", "hourly": "1h", "daily": "1d"}
# Points of a chart: ten days of five minutes, as with CoinGecko, and more than 93 days of hours.
POINTS_MAX = 2_880
_MOMENT = timedelta(microseconds=1)
_SECONDS_MAX = 32_503_680_000  # the year 3000
_DIGITS_MAX = 18
# Digits of a quotient of two prices.
_QUOTIENT_DIGITS = 12
_USD = "usd"

Flag = Annotated[bool, QueryParameter(description="as with CoinGecko")]
Interval = Annotated[str, QueryParameter(description="5m, hourly or daily; chosen by the span when left out")]


@get("/ping", tags=["coingecko"], sync_to_thread=False)
def ping(caller: NamedDependency[ApiCaller]) -> dict[str, str]:  # noqa: ARG001
    """Is the service there?"""
    return {"gecko_says": "(V3) To the Moon!"}


@get("/simple/supported_vs_currencies", tags=["coingecko"], sync_to_thread=False)
def supported_vs_currencies(parts: NamedDependency[Parts], caller: NamedDependency[ApiCaller]) -> list[str]:  # noqa: ARG001
    """USD, and the assets of this node by their symbols."""
    return [_USD, *(asset.lower() for asset in parts.prices.assets)]


@get("/coins/list", tags=["coingecko"], sync_to_thread=False)
def coins_list(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    include_platform: Flag = False,
) -> list[dict[str, Any]]:
    """The assets of this node; it knows no addresses of contracts."""
    coins = ((asset, coin_of(asset)) for asset in parts.prices.assets)
    platforms: dict[str, Any] = {"platforms": {}} if include_platform else {}
    return [{"id": coin.coingecko_id, "symbol": asset.lower(), "name": coin.name, **platforms} for asset, coin in coins]


@get("/simple/price", tags=["coingecko"], sync_to_thread=False)
def simple_price(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    vs_currencies: FromQuery[str],
    ids: FromQuery[str | None] = None,
    symbols: FromQuery[str | None] = None,
    include_market_cap: Flag = False,
    include_24hr_vol: Flag = False,
    include_24hr_change: Flag = False,
    include_last_updated_at: Flag = False,
    precision: Annotated[str, QueryParameter(description="full, or 0 to 18 decimals")] = "full",
) -> Response[bytes]:
    """Prices by CoinGecko id (or by symbol) and currency."""
    prices, now_ns = parts.prices, parts.context.clock.monotonic_ns()
    if ids is None and symbols is None:
        raise ProblemError(422, "missing_parameter", "Missing parameter ids", "ids")
    by_id = _index(prices.assets)
    wanted = {name: by_id.get(name) for name in _words(ids, "ids")}
    wanted |= {name: prices.find(name) for name in _words(symbols, "symbols")}
    unknown = {
        name: None
        for name, included in (
            ("market_cap", include_market_cap),
            ("24h_vol", include_24hr_vol),
            ("24h_change", include_24hr_change),
        )
        if included
    }
    currencies = {name: _read_currency(prices, name, now_ns) for name in _words(vs_currencies, "vs_currencies")}
    digits = _digits_of(precision)
    charge(parts, request.scope, len({asset for asset in wanted.values() if asset is not None}))
    answer: dict[str, dict[str, Any]] = {}
    for name, asset in wanted.items():
        if asset is None:
            continue
        entry: dict[str, Any] = {}
        answer[name] = entry
        price = prices.read(asset, now_ns)
        if not price.is_fresh:
            continue
        for currency, rate in currencies.items():
            if rate is not None:
                entry[currency] = _number(price.usd, rate, digits)
                entry |= {f"{currency}_{extra}": None for extra in unknown}
        if include_last_updated_at and entry:
            entry["last_updated_at"] = price.timestamp_ms // 1000
    return Response(msgspec.json.encode(answer), media_type="application/json", headers={"Cache-Control": "no-store"})


@get("/coins/{coin_id:str}/market_chart", tags=["coingecko"])
async def market_chart(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    vs_currency: FromQuery[str],
    days: Annotated[str, QueryParameter(description="days back from now, or max")],
    interval: Interval = "",
    precision: FromQuery[str] = "full",
) -> Response[bytes]:
    """Prices of the past days out of the candles' closes, and the newest one."""
    digits = _digits_of(precision)
    now = _now_of(parts)
    asset = _asset_of(parts, coin_id, vs_currency)
    points = await _points(parts, asset, now - _days_of(days), now, interval, digits)
    price: Price = parts.prices.read(asset, parts.context.clock.monotonic_ns())
    # A close stands at its minute's end, which may be later than the quotes that the newest price is made of.
    if price.is_fresh and (not points or price.timestamp_ms > points[-1][0]):
        points.append((price.timestamp_ms, _number(price.usd, Decimal(1), digits)))
    return _chart(points)


@get("/coins/{coin_id:str}/market_chart/range", tags=["coingecko"])
async def market_chart_range(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    vs_currency: FromQuery[str],
    from_: Annotated[int, QueryParameter(name="from", ge=0, le=_SECONDS_MAX, description="seconds since 1970")],
    to: Annotated[int, QueryParameter(ge=0, le=_SECONDS_MAX, description="seconds since 1970")],
    interval: Interval = "",
    precision: FromQuery[str] = "full",
) -> Response[bytes]:
    """Prices between two moments out of the candles' closes."""
    digits = _digits_of(precision)
    asset = _asset_of(parts, coin_id, vs_currency)
    start, end = (datetime.fromtimestamp(seconds, UTC) for seconds in (from_, to))
    if start >= end:
        raise bad_parameter("to", "`from` must be before `to`")
    if end - start > timedelta(days=DAYS_MAX):
        raise bad_parameter("from", f"at most {DAYS_MAX} days can be asked for at once")
    return _chart(await _points(parts, asset, start, min(end, _now_of(parts)), interval, digits))


def _asset_of(parts: Parts, coin_id: str, vs_currency: str) -> int:
    """The asset of a chart, which is in USD."""
    asset = _index(parts.prices.assets).get(coin_id)
    if asset is None:
        raise ProblemError(404, "unknown_coin", "coin not found", "id")
    if vs_currency.lower() != _USD:
        raise ProblemError(422, "unknown_currency", "invalid vs_currency", "vs_currency")
    return asset


async def _points(
    parts: Parts, asset: int, start: datetime, end: datetime, interval: str, digits: int | None
) -> list[tuple[int, msgspec.Raw]]:
    """The closes within a range, each with the moment at which it stood, in milliseconds."""
    if interval and interval not in _INTERVALS:
        raise bad_parameter("interval", f"{interval[:16]!r} is not one of {', '.join(_INTERVALS)}")
    chosen: Granularity = next((name for most, name in _GRANULARITIES if end - start <= most), "1d")
    granularity = _INTERVALS.get(interval, chosen)
    if (end - start) / STEPS[granularity] > POINTS_MAX:
        raise bad_parameter("interval", f"at most {POINTS_MAX} points at once: 10 days of 5m")
    candles: list[Candle] = []
    if start < end:
        name, since = parts.prices.assets[asset], start - _MOMENT  # a close that stood at `start` belongs to it
        async with parts.pool.connection() as connection:
            candles = await fetch_candles(connection, name, granularity, since, end)
    return [
        (int(candle.end.timestamp() * 1000), _number(candle.close, Decimal(1), digits))
        for candle in candles
        if candle.end <= end
    ]


def _chart(points: list[tuple[int, msgspec.Raw]]) -> Response[bytes]:
    body = msgspec.json.encode({"prices": points, "market_caps": [], "total_volumes": []})
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def _now_of(parts: Parts) -> datetime:
    return datetime.fromtimestamp(parts.context.clock.wall_ns() / NS_PER_SECOND, UTC)


@functools.cache
def _index(assets: tuple[str, ...]) -> dict[str, int]:
    """Assets by CoinGecko id."""
    return {coin_of(asset).coingecko_id: index for index, asset in enumerate(assets)}


def _words(text: str | None, field: str) -> list[str]:
    """`bitcoin, Ethereum` as words in lower case."""
    words = [word.strip().lower() for word in (text or "").split(",")]
    if len(words) > ASSETS_MAX:
        raise bad_parameter(field, f"at most {ASSETS_MAX} of them, not {len(words)}")
    return [word for word in words if word]


def _read_currency(prices: Prices, name: str, now_ns: int) -> Decimal | None:
    """What one unit of the currency costs in USD; None when it is unknown, or not known now."""
    if name == _USD:
        return Decimal(1)
    asset = prices.find(name)
    price = prices.read(asset, now_ns) if asset is not None else None
    return price.usd if price is not None and price.is_fresh and price.usd else None


def _number(usd: Decimal, rate: Decimal, digits: int | None) -> msgspec.Raw:
    """A JSON number in plain digits."""
    value = usd
    if rate != 1:
        value = usd / rate
        value = round(value, _QUOTIENT_DIGITS - 1 - value.adjusted())
    if digits is not None:
        value = round(value, digits)
    return msgspec.Raw(format(plain(value), "f").encode())


def _digits_of(precision: str) -> int | None:
    if precision == "full":
        return None
    if not (precision.isascii() and precision.isdigit() and len(precision) <= 2 and int(precision) <= _DIGITS_MAX):
        raise bad_parameter("precision", f"{precision[:16]!r} is neither full nor 0 to {_DIGITS_MAX}")
    return int(precision)


def _days_of(days: str) -> timedelta:
    if days == "max":
        return timedelta(days=DAYS_MAX)
    if not (days.isascii() and days.replace(".", "", 1).isdigit() and len(days) <= 12 and Decimal(days) > 0):
        raise bad_parameter("days", f"{days[:16]!r} is neither a number of days nor max")
    return timedelta(days=float(min(Decimal(days), Decimal(DAYS_MAX))))


def _as_coingecko(_request: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    body = {"error": error.detail, "code": error.code, "field": error.field}
    return Response(
        msgspec.json.encode(body), status_code=error.status, media_type="application/json", headers=error.headers
    )


def _as_missing(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field = str(first.get("key", "")).removesuffix("_")
    detail = str(first.get("message") or error.detail)
    return _as_coingecko(request, ProblemError(422, "bad_parameter", f"{field}: {detail}" if field else detail, field))


def _as_away(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return _as_coingecko(request, problem_of(error))


ROUTER = Router(
    path="/api/v3",
    route_handlers=[ping, supported_vs_currencies, coins_list, simple_price, market_chart, market_chart_range],
    opt={"any_parameters": True},
    exception_handlers={
        ProblemError: _as_coingecko,
        ValidationException: _as_missing,
        **dict.fromkeys(DATABASE_ERRORS, _as_away),
    },
)
