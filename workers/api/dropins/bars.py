"""Bars of a chart: `price_minute` by steps of a fixed length, in UTC.

    RESOLUTIONS   what a chart may ask for, as TradingView writes it, and how long a bar is
    fetch_bars    the newest bars that begin in a range
    last_before   where the last bar before a moment begins
    fetch_days    what happened since midnight, for quotes

Rules: a bar without a price is not there, it is never filled. A week begins on Monday. Bars that begin in a range
belong to it, its end left out; a bar is whole even where the range ends inside of it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg

from trinity.store.queries import load

RESOLUTIONS: dict[str, timedelta] = {
    "1": timedelta(minutes=1),
    "5": timedelta(minutes=5),
    "15": timedelta(minutes=15),
    "30": timedelta(minutes=30),
    "60": timedelta(hours=1),
    "120": timedelta(hours=2),
    "240": timedelta(hours=4),
    "1D": timedelta(days=1),
    "1W": timedelta(weeks=1),
}
# A chart asks for 300 to 2,000 bars; a request for more gets the newest of them.
BARS_MAX = 10_000
# A Monday's midnight: all steps are counted from here.
ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

Connection = psycopg.AsyncConnection[Any]


class Bar(NamedTuple):
    """One bar, in USD; `time` is when it begins, in seconds since 1970."""

    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class Day(NamedTuple):
    """An asset's figures since midnight; None where no price is stored."""

    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    previous_close: Decimal | None


def next_bar(step: timedelta, moment: datetime) -> datetime:
    """The begin of the first bar that does not begin before this moment."""
    return ORIGIN - (ORIGIN - moment) // step * step


async def fetch_bars(
    connection: Connection, asset: str, step: timedelta, start: datetime, end: datetime, count: int
) -> list[Bar]:
    """The newest `count` bars of the range, oldest first, however large the gaps between them."""
    first, last = next_bar(step, start), next_bar(step, end)
    span = {"asset": asset, "step": step, "origin": ORIGIN, "count": count, "end": last}
    if last - first > count * step:
        row = await (await connection.execute(load("udf.first_of"), span)).fetchone()
        first = max(first, row[0]) if row is not None and row[0] is not None else first
    rows = await (await connection.execute(load("udf.bars"), span | {"start": first})).fetchall()
    return [Bar(_seconds_of(time), *prices) for time, *prices in reversed(rows)]


async def last_before(connection: Connection, asset: str, step: timedelta, moment: datetime) -> int | None:
    """When the last bar that begins before a moment does; None without any."""
    span = {"asset": asset, "step": step, "origin": ORIGIN, "count": 1, "end": next_bar(step, moment)}
    row = await (await connection.execute(load("udf.first_of"), span)).fetchone()
    return _seconds_of(row[0]) if row is not None and row[0] is not None else None


async def fetch_days(connection: Connection, assets: Sequence[str], now: datetime) -> dict[str, Day]:
    """Each known asset's day so far, in UTC."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    cursor = await connection.execute(load("udf.days"), {"assets": list(assets), "day": day})
    return {name: Day(*figures) for name, *figures in await cursor.fetchall()}


def _seconds_of(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // _SECOND
