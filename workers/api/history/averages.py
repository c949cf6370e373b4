"""Exponential averages of the consensus prices, the same in every process.

The mean of a price and of the closes in price_minute of the EMA_MINUTES before it, an hour's exponential weights
(1 - 2/61)**age in minutes, missing minutes left out, and the YOUNGEST_AGE - 1 youngest as well, which may not be stored
or read yet. So every process of every node over one database answers the same. Without such minutes it is the price.

Rules: a close keeps its minute, and its age is taken when it is used, so what was read before the database went away
fades and is gone EMA_MINUTES later. The database is asked once a minute for all assets that were ever asked for; only
the first callers of an asset wait for it, at most WAIT_SECONDS, and prices go on without it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import psycopg
import psycopg_pool

from trinity.clock import NS_PER_SECOND, Clock
from trinity.store.queries import load
from workers.api.base.prices import Price

EMA_MINUTES = 240  # what is older weighs 0.03 %
# A minute is stored up to ten seconds after its end, and read up to a minute later.
YOUNGEST_AGE = 3
REFRESH_SECONDS = 5.0
# A price does not wait for the database longer than this, however many assets are new.
WAIT_SECONDS = 0.2
# Assets read at a time: 4,000 rows, which hold the event loop for some 10 ms.
BATCH_ASSETS = 16
_MS_PER_MINUTE = 60_000
_KEPT = Decimal(59) / Decimal(61)
_WEIGHTS = tuple(_KEPT**age for age in range(EMA_MINUTES + 1))


class ClosePrice(NamedTuple):
    """A whole minute's last price and confidence; `minute` counts from 1970."""

    minute: int
    price: Decimal
    confidence: Decimal


class _Minutes(NamedTuple):
    """What is known of an asset: the minute in which it was read (None: never yet), and its closes."""

    read_in: int | None = None
    closes: Sequence[ClosePrice] = ()


class Averages:
    """The stored minutes behind each asset's EMA."""

    def __init__(self, pool: psycopg_pool.AsyncConnectionPool) -> None:
        self._pool = pool
        self._minutes: dict[str, _Minutes] = {}
        self._reading: asyncio.Task[None] | None = None

    async def of(self, prices: Sequence[Price], wall_ns: int) -> dict[str, tuple[Decimal, Decimal]]:
        """(EMA, its confidence) of each asset; those that were never asked for are read first."""
        unread = [price.asset for price in prices if self._known(price.asset).read_in is None]
        if any(asset not in self._minutes for asset in unread):
            self._minutes |= dict.fromkeys(unread, _Minutes())
            self.refresh(wall_ns)
        if unread and self._reading is not None:
            # Waiting ends, reading goes on: to cancel a statement takes as long as a database that hangs.
            await asyncio.wait({self._reading}, timeout=WAIT_SECONDS)
        return {price.asset: self.known(price) for price in prices}

    def known(self, price: Price) -> tuple[Decimal, Decimal]:
        """The same out of what was read, for streams."""
        return ema_of(price, self._known(price.asset).closes)

    async def run(self, clock: Clock) -> None:
        """Keep what was ever asked for up to date, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh(clock.wall_ns())

    def refresh(self, wall_ns: int) -> "asyncio.Task[None]":
        """Read what was not read in this minute yet; a reading that is under way takes it in."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(wall_ns // (60 * NS_PER_SECOND)))
        return self._reading

    def _known(self, asset: str) -> _Minutes:
        return self._minutes.get(asset, _Minutes())

    async def _read(self, minute: int) -> None:
        span = {"start": _moment_of(minute - EMA_MINUTES), "end": _moment_of(minute - YOUNGEST_AGE + 2)}
        with contextlib.suppress(psycopg.Error):  # prices go on without the database
            while assets := self._old(minute)[:BATCH_ASSETS]:
                async with self._pool.connection(WAIT_SECONDS) as connection:
                    cursor = await connection.execute(load("candles.closes"), {"assets": assets, **span})
                    rows = await cursor.fetchall()
                found: dict[str, list[ClosePrice]] = {asset: [] for asset in assets}
                for asset, start, price, confidence in rows:
                    found[asset].append(ClosePrice(int(start.timestamp()) // 60, price, confidence))
                self._minutes |= {asset: _Minutes(minute, closes) for asset, closes in found.items()}

    def _old(self, minute: int) -> list[str]:
        """What was not read in this minute; first what was never read."""
        old = [(known.read_in or 0, asset) for asset, known in self._minutes.items() if known.read_in != minute]
        return [asset for _, asset in sorted(old)]


def ema_of(price: Price, closes: Sequence[ClosePrice]) -> tuple[Decimal, Decimal]:
    """The average of this price and the closes before it, and of their confidences."""
    now = price.timestamp_ms // _MS_PER_MINUTE
    weight = Decimal(1)
    mean, confidence = price.usd, Decimal(price.confidence).scaleb(-price.scale)
    for close in closes:
        age = now - close.minute
        if YOUNGEST_AGE <= age <= EMA_MINUTES:
            weight += _WEIGHTS[age]
            mean += close.price * _WEIGHTS[age]
            confidence += close.confidence * _WEIGHTS[age]
    return mean / weight, confidence / weight


def _moment_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
