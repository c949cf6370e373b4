"""Exponential averages of the consensus prices, the same in every process.

The mean of this moment's price and of the closes in price_minute of the last EMA_MINUTES, an hour's exponential
weights (1 - 2/61)**age in minutes, missing minutes left out, and the youngest as well, which may not be stored yet. So
every process of every node over one database answers the same. Without stored minutes it is the price itself.

Rules: the database is asked once a minute and asset; prices go on without it.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import psycopg
import psycopg_pool

from trinity.clock import NS_PER_SECOND, Clock
from workers.reports.candles import fetch_candles
from workers.reports.prices import Price

EMA_MINUTES = 240  # what is older weighs 0.03 %
REFRESH_SECONDS = 5.0
# A price does not wait for the database longer than this.
WAIT_SECONDS = 0.2
_KEPT = Decimal(59) / Decimal(61)
_WEIGHTS = tuple(_KEPT**age for age in range(EMA_MINUTES + 1))


class Close(NamedTuple):
    """A whole minute's last price and confidence; `age` in minutes."""

    age: int
    price: Decimal
    confidence: Decimal


class Averages:
    """The stored minutes behind each asset's EMA, asked for once a minute."""

    def __init__(self, pool: psycopg_pool.AsyncConnectionPool) -> None:
        self._pool = pool
        self._closes: dict[str, tuple[int, list[Close]]] = {}

    async def of(self, prices: Sequence[Price], wall_ns: int) -> dict[str, tuple[Decimal, Decimal]]:
        """(EMA, its confidence) of each asset at this moment."""
        minute = wall_ns // (60 * NS_PER_SECOND)
        missing = [price.asset for price in prices if self._closes.get(price.asset, (0,))[0] != minute]
        if missing:
            await self._fetch(missing, minute)
        return {price.asset: ema_of(price, self._closes[price.asset][1]) for price in prices}

    def known(self, price: Price) -> tuple[Decimal, Decimal]:
        """The same out of what was last asked for, for streams."""
        return ema_of(price, self._closes.get(price.asset, (0, []))[1])

    async def run(self, clock: Clock) -> None:
        """Keep what streams need up to date, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            minute = clock.wall_ns() // (60 * NS_PER_SECOND)
            if old := [asset for asset, (fetched, _) in self._closes.items() if fetched != minute]:
                await self._fetch(old, minute)

    async def _fetch(self, assets: Sequence[str], minute: int) -> None:
        for asset in assets:
            self._closes[asset] = (minute, self._closes.get(asset, (0, []))[1])
        end = datetime.fromtimestamp((minute - 1) * 60, UTC)
        start = end - timedelta(minutes=EMA_MINUTES - 2)
        try:
            async with self._pool.connection(WAIT_SECONDS) as connection:
                for asset in assets:
                    candles = await fetch_candles(connection, asset, "1m", start, end)
                    closes = [
                        Close((end - candle.start) // timedelta(minutes=1) + 1, candle.close, candle.confidence)
                        for candle in candles
                    ]
                    self._closes[asset] = (minute, closes)
        except (psycopg.Error, psycopg_pool.PoolTimeout):
            return  # prices go on without the database


def ema_of(price: Price, closes: Sequence[Close]) -> tuple[Decimal, Decimal]:
    """The average of this price and the closes, and of their confidences."""
    numbers = [Close(0, price.usd, Decimal(price.confidence).scaleb(-price.scale)), *closes]
    weight = sum((_WEIGHTS[close.age] for close in numbers), Decimal(0))
    mean = sum((close.price * _WEIGHTS[close.age] for close in numbers), Decimal(0)) / weight
    confidence = sum((close.confidence * _WEIGHTS[close.age] for close in numbers), Decimal(0)) / weight
    return mean, confidence
