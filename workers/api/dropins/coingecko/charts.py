"""Prices over time, out of the candles of the database.

    GET /coins/{id}/market_chart         vs_currency, days, interval
    GET /coins/{id}/market_chart/range   vs_currency, from, to, interval
    GET /coins/{id}/ohlc                 vs_currency=usd, days, interval
    GET /coins/{id}/ohlc/range           vs_currency=usd, from, to, interval

Rules: a point of a chart is a close at the moment at which it stood. In another currency than USD it is the quotient
of two closes of the same moment, and left out where one is missing. The extremes of a quotient are not known from
those of its parts, so OHLC is in USD alone. An OHLC candle stands at its end, as with CoinGecko, and is there once it
has ended. Without `interval` the span decides, as with CoinGecko.
"""

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.base.prices import Prices
from workers.api.base.problems import ProblemError, bad_parameter
from workers.api.dropins.coingecko.answers import TAGS, Precision, VsCurrency, json_answer, now_of
from workers.api.dropins.coingecko.numbers import number, quotient, rounded
from workers.api.dropins.coingecko.parameters import DAYS_MAX, read_days, read_decimals, read_time
from workers.api.dropins.coingecko.selection import USD, Currency, coin_by_id, read_currency, usd_of
from workers.api.history.candles import STEPS, Candle, Granularity, fetch_candles

# As CoinGecko chooses: five minutes for a day, hours for a quarter, then days.
_BY_SPAN: tuple[tuple[timedelta, Granularity], ...] = ((timedelta(days=1), "5m"), (timedelta(days=90), "1h"))
_INTERVALS: dict[str, Granularity] = {"1m": "1m", "5m": "5m", "hourly": "1h", "daily": "1d"}
# Points of a chart: ten days of five minutes, as with CoinGecko, and more than 93 days of hours.
POINTS_MAX = 2_880
# As CoinGecko chooses: half hours for two days, four hours for a month, then four days; made of these candles.
_OHLC_BY_SPAN: tuple[tuple[timedelta, timedelta, Granularity], ...] = (
    (timedelta(days=2), timedelta(minutes=30), "5m"),
    (timedelta(days=30), timedelta(hours=4), "1h"),
    (timedelta(days=DAYS_MAX + 1), timedelta(days=4), "1d"),
)
_OHLC_INTERVALS: dict[str, tuple[timedelta, Granularity]] = {
    "hourly": (timedelta(hours=1), "1h"),
    "daily": (timedelta(days=1), "1d"),
}
_MOMENT = timedelta(microseconds=1)
_EPOCH = datetime.fromtimestamp(0, UTC)

Points = list[tuple[int, msgspec.Raw]]
Days = Annotated[str, QueryParameter(description="days back from now, or max")]
Time = Annotated[str, QueryParameter(description="seconds since 1970, or ISO 8601")]
FromTime = Annotated[str, QueryParameter(name="from", description="seconds since 1970, or ISO 8601")]
Interval = Annotated[str, QueryParameter(description="1m, 5m, hourly or daily; chosen by the span when left out")]
OhlcInterval = Annotated[str, QueryParameter(description="hourly or daily; chosen by the span when left out")]


@get("/coins/{coin_id:str}/market_chart", tags=TAGS)
async def market_chart(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    vs_currency: VsCurrency,
    days: Days,
    interval: Interval = "",
    precision: Precision = "full",
) -> Response[bytes]:
    """Prices of the past days, and the newest one."""
    asset, currency = coin_by_id(parts.prices, coin_id), read_currency(parts.prices, vs_currency)
    decimals, now = read_decimals(precision), now_of(parts)
    points = await _points(parts, asset, currency, now - read_days(days), now, interval, decimals)
    now_ns = parts.context.clock.monotonic_ns()
    price = parts.prices.read(asset, now_ns)
    usd, unit = usd_of(price), currency.usd(parts.prices, now_ns)
    # A close stands at its minute's end, which may be later than the quotes that the newest price is made of.
    if usd is not None and unit is not None and (not points or price.timestamp_ms > points[-1][0]):
        points.append((price.timestamp_ms, number(rounded(quotient(usd, unit), decimals))))
    return _chart(points)


@get("/coins/{coin_id:str}/market_chart/range", tags=TAGS)
async def market_chart_range(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    vs_currency: VsCurrency,
    from_: FromTime,
    to: Time,
    interval: Interval = "",
    precision: Precision = "full",
) -> Response[bytes]:
    """Prices between two moments."""
    asset, currency = coin_by_id(parts.prices, coin_id), read_currency(parts.prices, vs_currency)
    start, end = _span_of(from_, to, now_of(parts))
    return _chart(await _points(parts, asset, currency, start, end, interval, read_decimals(precision)))


@get("/coins/{coin_id:str}/ohlc", tags=TAGS)
async def ohlc(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    vs_currency: VsCurrency,
    days: Days,
    interval: OhlcInterval = "",
    precision: Precision = "full",
) -> Response[bytes]:
    """Open, high, low and close of the past days."""
    asset, now = _ohlc_asset(parts.prices, coin_id, vs_currency), now_of(parts)
    return await _ohlc(parts, asset, now - read_days(days), now, interval, read_decimals(precision))


@get("/coins/{coin_id:str}/ohlc/range", tags=TAGS)
async def ohlc_range(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    coin_id: FromPath[str],
    vs_currency: VsCurrency,
    from_: FromTime,
    to: Time,
    interval: OhlcInterval = "",
    precision: Precision = "full",
) -> Response[bytes]:
    """Open, high, low and close between two moments."""
    asset = _ohlc_asset(parts.prices, coin_id, vs_currency)
    start, end = _span_of(from_, to, now_of(parts))
    return await _ohlc(parts, asset, start, end, interval, read_decimals(precision))


def _span_of(from_: str, to: str, now: datetime) -> tuple[datetime, datetime]:
    """The range without what lies ahead, and without what is older than all that is kept."""
    start, end = read_time(from_, "from"), read_time(to, "to")
    if start >= end:
        raise bad_parameter("to", "`from` must be before `to`")
    return max(start, now - timedelta(days=DAYS_MAX)), min(end, now)


def _ohlc_asset(prices: Prices, coin_id: str, vs_currency: str) -> int:
    asset = coin_by_id(prices, coin_id)
    if read_currency(prices, vs_currency).name != USD:
        detail = "invalid vs_currency: candles are in usd, since the extremes of a quotient are not known"
        raise ProblemError(422, "unknown_currency", detail, "vs_currency")
    return asset


async def _points(
    parts: Parts,
    asset: int,
    currency: Currency,
    start: datetime,
    end: datetime,
    interval: str,
    decimals: int | None,
) -> Points:
    """The closes within a range, each with the moment at which it stood, in milliseconds."""
    if interval and interval not in _INTERVALS:
        raise bad_parameter("interval", f"{interval[:16]!r} is not one of {', '.join(_INTERVALS)}")
    chosen: Granularity = next((name for most, name in _BY_SPAN if end - start <= most), "1d")
    granularity = _INTERVALS.get(interval, chosen)
    if (end - start) / STEPS[granularity] > POINTS_MAX:
        raise bad_parameter("interval", f"at most {POINTS_MAX} points at once: 2 days of 1m, 10 days of 5m")
    closes = await _closes(parts, asset, granularity, start, end)
    if currency.asset is not None:
        units = await _closes(parts, currency.asset, granularity, start, end)
        closes = {at: quotient(usd, units[at]) for at, usd in closes.items() if units.get(at)}
    return [(int(at.timestamp() * 1000), number(rounded(close, decimals))) for at, close in closes.items()]


async def _closes(
    parts: Parts, asset: int, granularity: Granularity, start: datetime, end: datetime
) -> dict[datetime, Decimal]:
    since = start - _MOMENT  # a close that stood at `start` belongs to it
    candles = await _candles(parts, asset, granularity, since, end)
    return {candle.end: candle.close for candle in candles if candle.end <= end}


async def _candles(parts: Parts, asset: int, granularity: Granularity, start: datetime, end: datetime) -> list[Candle]:
    if start >= end:
        return []
    async with parts.pool.connection() as connection:
        return await fetch_candles(connection, parts.prices.assets[asset], granularity, start, end)


def _chart(points: Points) -> Response[bytes]:
    return json_answer({"prices": points, "market_caps": [], "total_volumes": []})


async def _ohlc(
    parts: Parts, asset: int, start: datetime, end: datetime, interval: str, decimals: int | None
) -> Response[bytes]:
    if interval and interval not in _OHLC_INTERVALS:
        raise bad_parameter("interval", f"{interval[:16]!r} is not one of {', '.join(_OHLC_INTERVALS)}")
    chosen = next((step, granularity) for most, step, granularity in _OHLC_BY_SPAN if end - start <= most)
    step, granularity = _OHLC_INTERVALS.get(interval, chosen)
    candles = await _candles(parts, asset, granularity, start, end)
    rows = []
    for at, *prices in merge_candles(candles, step):
        if start < at <= end:
            rows.append((int(at.timestamp() * 1000), *(number(rounded(price, decimals)) for price in prices)))
    return json_answer(rows)


def merge_candles(
    candles: Iterable[Candle], step: timedelta
) -> Iterator[tuple[datetime, Decimal, Decimal, Decimal, Decimal]]:
    """Larger candles out of smaller ones that they are a multiple of: (end, open, high, low, close), oldest first."""
    for _, group in itertools.groupby(candles, lambda candle: (candle.start - _EPOCH) // step):
        parts = list(group)
        end = _EPOCH + ((parts[0].start - _EPOCH) // step + 1) * step
        high, low = max(part.high for part in parts), min(part.low for part in parts)
        yield end, parts[0].open, high, low, parts[-1].close
