"""What each asset's price was an hour, a day, a week or a month ago, and its extremes of 24 hours: out of the candles.

Rules: the database is asked once a minute for all assets together, and only while somebody wants to know; the first
asker waits for it, at most WAIT_SECONDS, later ones get what was read last. A past price is the close that stood at
that moment, or the newest one before it within 1/24 of the window: where the node has none there, it is not known, and
so are the extremes of a day whose beginning is not known. What was read is believed for BELIEVED_MINUTES when the
database goes away; then nothing is known.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import psycopg
import psycopg_pool

from trinity.clock import NS_PER_SECOND, Clock
from trinity.store.queries import load

# By CoinGecko's names. The database keeps 93 days.
WINDOWS: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "14d": timedelta(days=14),
    "30d": timedelta(days=30),
    "60d": timedelta(days=60),
}
_TOLERANCES = 24
# As many hourly closes as CoinGecko's lines of seven days have.
SPARKLINE_HOURS = 168
BELIEVED_MINUTES = 5
# Two index scans for each asset and window, and a day's minutes: some 50 ms for 30 assets.
WAIT_SECONDS = 1.0
# A database that is away is not waited for again so soon.
_AWAY_SECONDS = 5
_HOUR = timedelta(hours=1)


class Past(NamedTuple):
    """One asset's past in USD: prices by the names of WINDOWS, extremes of 24 hours; what is missing is not known."""

    prices: Mapping[str, Decimal] = {}
    high: Decimal | None = None
    low: Decimal | None = None


class _Known(NamedTuple):
    """What was read in a minute since 1970."""

    minute: int = 0
    pasts: Mapping[str, Past] = {}


_NOTHING = Past()


class PastPrices:
    """The past of all assets, remembered for a minute."""

    def __init__(self, pool: psycopg_pool.AsyncConnectionPool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known = _Known()
        self._reading: asyncio.Task[None] | None = None
        self._away_until_ns = 0

    async def of(self, assets: Sequence[str]) -> Mapping[str, Past]:
        """The past of each of these assets; empty where nothing is known."""
        minute = self._minute()
        if self._known.minute != minute:
            is_reading = self._reading is not None and not self._reading.done()
            if not is_reading and self._clock.monotonic_ns() >= self._away_until_ns:
                self._reading = asyncio.create_task(self._read(minute))
            if self._reading is not None and minute - self._known.minute > 1:
                # Waiting ends, reading goes on: to cancel a statement takes as long as a database that hangs.
                await asyncio.wait({self._reading}, timeout=WAIT_SECONDS)
        known = self._known if minute - self._known.minute <= BELIEVED_MINUTES else _Known()
        return {asset: known.pasts.get(asset, _NOTHING) for asset in assets}

    async def closes_at(
        self, assets: Sequence[str], moments: Sequence[datetime]
    ) -> dict[tuple[str, datetime], Decimal]:
        """The price of each asset that stood at each moment, or within an hour before it; psycopg's errors."""
        async with self._pool.connection() as connection:
            return await _closes_at(connection, assets, moments, [_HOUR] * len(moments))

    async def sparklines(self, assets: Sequence[str]) -> dict[str, list[Decimal]]:
        """The hourly closes of the last seven days, oldest first; hours without a price are left out."""
        end = datetime.fromtimestamp(self._minute() // 60 * 3600, UTC)
        moments = [end - _HOUR * age for age in reversed(range(SPARKLINE_HOURS))]
        closes = await self.closes_at(assets, moments)
        return {asset: [closes[asset, at] for at in moments if (asset, at) in closes] for asset in assets}

    def _minute(self) -> int:
        return self._clock.wall_ns() // (60 * NS_PER_SECOND)

    async def _read(self, minute: int) -> None:
        now = datetime.fromtimestamp(minute * 60, UTC)
        moments = {now - window: name for name, window in WINDOWS.items()}
        with contextlib.suppress(psycopg.Error, psycopg_pool.PoolTimeout):  # prices go on without the database
            async with self._pool.connection(WAIT_SECONDS) as connection:
                cursor = await connection.execute(load("past.extremes"), {"start": now - WINDOWS["24h"]})
                extremes = {asset: (high, low) for asset, high, low in await cursor.fetchall()}
                tolerances = [window / _TOLERANCES for window in WINDOWS.values()]
                closes = await _closes_at(connection, list(extremes), list(moments), tolerances)
            prices: dict[str, dict[str, Decimal]] = {asset: {} for asset in extremes}
            for (asset, at), close in closes.items():
                prices[asset][moments[at]] = close
            self._known = _Known(minute, {asset: _past_of(prices[asset], *extremes[asset]) for asset in extremes})
            return
        self._away_until_ns = self._clock.monotonic_ns() + _AWAY_SECONDS * NS_PER_SECOND


def _past_of(prices: Mapping[str, Decimal], high: Decimal, low: Decimal) -> Past:
    return Past(prices, high, low) if "24h" in prices else Past(prices)


async def _closes_at(
    connection: psycopg.AsyncConnection[tuple[object, ...]],
    assets: Sequence[str],
    moments: Sequence[datetime],
    tolerances: Sequence[timedelta],
) -> dict[tuple[str, datetime], Decimal]:
    parameters = {"assets": list(assets), "moments": list(moments), "tolerances": list(tolerances)}
    cursor = await connection.execute(load("past.closes_at"), parameters)
    return {(asset, at.astimezone(UTC)): close for asset, at, close in await cursor.fetchall()}  # type: ignore[attr-defined, misc]
