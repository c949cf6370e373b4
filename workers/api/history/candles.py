"""Candles of the consensus prices out of `price_minute`: for /history, charts, drop-ins and averages.

    buckets_of      pure: the first moments of the buckets that a range touches
    fetch_candles   the buckets that have a price; a bucket without one has no candle, it is never filled
    gaps_of         pure: the other buckets, as ranges
    fetch_average   the exact time-weighted average of a range, and how much of the range had a price

Rules: prices are Decimal and exact. Ranges are half open, `start` belongs to them and `end` does not. Minutes, five
minutes and hours are those of UTC; days are those of the time zone asked for, so a day may have 23 or 25 hours.
"""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

import msgspec
import psycopg

from trinity.store.queries import load

Granularity = Literal["1m", "5m", "1h", "1d"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
STEPS: dict[Granularity, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
# Digits that an average is rounded to, half to even: those of the finest price, and some. Sums are exact up to here.
AVERAGE_DIGITS = 12
# Of a share of time: 10**-6 of an hour is 4 ms.
_SHARE_DIGITS = 6
_MS = timedelta(milliseconds=1)

Connection = psycopg.AsyncConnection[Any]


class Candle(msgspec.Struct, frozen=True):
    """One bucket of one asset, in USD.

    `open` is the price that stood when the bucket began, else its first; `average` is weighted by time; `sources` and
    `confidence` are those of the last price; `coverage` is the share of the bucket in which a price stood, 0 to 1.
    """

    start: datetime
    end: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    average: Decimal | None
    confidence: Decimal
    sources: int
    samples: int
    coverage: float


class Gap(msgspec.Struct, frozen=True):
    """A range without any price."""

    start: datetime
    end: datetime


class Average(NamedTuple):
    """`price` is None when no price stood at all; `coverage` is the share of the range in which one did."""

    price: Decimal | None
    coverage: float
    minutes: int


def buckets_of(
    granularity: Granularity, start: datetime, end: datetime, zone: ZoneInfo | None = None
) -> list[datetime]:
    """First moments (UTC) of all buckets that the range touches, and the end of the last one behind them."""
    step = STEPS[granularity]
    if granularity == "1d":
        return _days_of(start, end, zone or ZoneInfo("UTC"))
    epoch = datetime.fromtimestamp(0, UTC)
    first = epoch + (start - epoch) // step * step
    count = -((first - end) // step)
    return [first + step * i for i in range(count + 1)]


async def fetch_candles(
    connection: Connection,
    asset: str,
    granularity: Granularity,
    start: datetime,
    end: datetime,
    zone: ZoneInfo | None = None,
) -> list[Candle]:
    """The candles of all buckets that the range touches and that have a price, in order; none for an unknown asset."""
    buckets = buckets_of(granularity, start, end, zone)
    parameters = {"asset": asset, "starts": buckets[:-1], "start": buckets[0], "end": buckets[-1]}
    cursor = await connection.execute(load("candles.fetch"), parameters)
    candles = []
    for (
        bucket,
        first,
        high,
        low,
        last,
        confidence,
        sources,
        samples,
        weighted_sum,
        weighted_ms,
    ) in await cursor.fetchall():
        begin, finish = buckets[bucket - 1], buckets[bucket]
        candles.append(
            Candle(
                begin,
                finish,
                plain(first),
                plain(high),
                plain(low),
                plain(last),
                average_of(weighted_sum, weighted_ms),
                plain(confidence),
                sources,
                samples,
                _share_of(weighted_ms, finish - begin),
            )
        )
    return candles


def gaps_of(candles: Sequence[Candle], buckets: Sequence[datetime]) -> list[Gap]:
    """The buckets (as of buckets_of) that have no candle, neighbours as one range."""
    has_candle = {candle.start for candle in candles}
    gaps: list[Gap] = []
    for start, end in itertools.pairwise(buckets):
        if start in has_candle:
            continue
        if gaps and gaps[-1].end == start:
            gaps[-1] = Gap(gaps[-1].start, end)
        else:
            gaps.append(Gap(start, end))
    return gaps


async def fetch_average(connection: Connection, asset: str, start: datetime, end: datetime) -> Average:
    """The time-weighted average over whole minutes."""
    cursor = await connection.execute(load("candles.average"), {"asset": asset, "start": start, "end": end})
    row = await cursor.fetchone()
    assert row is not None, "a sum without GROUP BY is one row"
    weighted_sum, weighted_ms, minutes = row
    return Average(average_of(weighted_sum, weighted_ms), _share_of(weighted_ms, end - start), minutes)


def _share_of(weighted_ms: int, span: timedelta) -> float:
    return round(weighted_ms / (span / _MS), _SHARE_DIGITS)


def average_of(weighted_sum: Decimal | None, weighted_ms: int) -> Decimal | None:
    """A weighted sum over its weight, rounded to AVERAGE_DIGITS digits; None where nothing stood."""
    if not weighted_ms or weighted_sum is None:
        return None
    quotient = weighted_sum / weighted_ms
    return plain(round(quotient, AVERAGE_DIGITS - 1 - quotient.adjusted()))


def plain(number: Decimal) -> Decimal:
    """The same number without trailing zeros and without an exponent."""
    tidy = number.normalize()
    exponent = tidy.as_tuple().exponent
    return tidy.quantize(Decimal(1)) if isinstance(exponent, int) and exponent > 0 else tidy


def _days_of(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    day = start.astimezone(zone).date()
    buckets: list[datetime] = []
    while not buckets or buckets[-1] < end:
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        # Where a zone skips a whole day, two dates begin at the same moment.
        if not buckets or midnight > buckets[-1]:
            buckets.append(midnight)
        day += timedelta(days=1)
    return buckets
