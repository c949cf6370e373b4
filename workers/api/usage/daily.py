"""The day's figures (the specification's daily dashboard blob): one job in the whole cluster, kept and cached.

    daily_figures(day, figures)   one row a UTC day, kept; today's is computed anew each minute, yesterday's once more
                                  after its end
    kcc:daily in Valkey           the newest, for 24 hours, when there is a cache

Rules: whoever holds the advisory lock computes; the others find it done. Protocols stand in words, not numbers. The
database away means that the figures are late, nothing else.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from trinity.clock import NS_PER_SECOND, Clock
from trinity.observe.log import Outage
from trinity.store import queries
from trinity.vocabulary import PROTOCOLS
from workers.api.base.cache import Cache

EVERY_SECONDS = 60.0
# A node begins before its database does: the first figures need not wait a minute for that.
RETRY_SECONDS = 5.0
CACHE_KEY = "kcc:daily"
CACHE_SECONDS = 24 * 3600

Opener = Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]


async def run(open_connection: Opener, cache: Cache, clock: Clock, log: logging.Logger) -> None:
    """Compute forever; a failure is logged when it begins, and soon tried again."""
    outage = Outage(log, logging.WARNING, "daily_figures_late", "daily figures are computed")
    while True:
        seconds = EVERY_SECONDS
        try:
            async with await open_connection() as connection:
                figures = await compute(connection, now_of(clock))
            if figures is not None:
                await cache.publish(CACHE_KEY, msgspec.json.encode(figures), CACHE_SECONDS)
            outage.up()
        except psycopg.Error as error:
            outage.down(type(error).__name__, clock.monotonic_ns())
            seconds = RETRY_SECONDS
        await asyncio.sleep(seconds)


def now_of(clock: Clock) -> datetime.datetime:
    """The wall clock's time in UTC."""
    return datetime.datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, datetime.UTC)


async def compute(connection: psycopg.AsyncConnection[Any], now: datetime.datetime) -> dict[str, Any] | None:
    """Compute and keep the figures of every day that is open; today's, or None when another node does it now."""
    async with connection.transaction():
        (is_ours,) = await _one(connection, "dashboard.lock", {})
        if not is_ours:
            return None
        days = await (await connection.execute(queries.load("dashboard.open_days"), {"today": now.date()})).fetchall()
        figures: dict[str, Any] = {}
        for (day,) in days:
            (found,) = await _one(connection, "dashboard.figures", {"day": day})
            figures = {"day": day.isoformat(), **_in_words(found)}
            kept = {"day": day, "figures": Jsonb(figures), "now": now}
            await connection.execute(queries.load("dashboard.keep_figures"), kept)
        return figures


async def _one(connection: psycopg.AsyncConnection[Any], query: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    row = await (await connection.execute(queries.load(query), parameters)).fetchone()
    assert row is not None, "an aggregate always has a row"
    return tuple(row)


def _in_words(found: dict[str, Any]) -> dict[str, Any]:
    by_protocol = {PROTOCOLS[int(number)]: requests for number, requests in found["by_protocol"].items()}
    return {**found, "by_protocol": by_protocol}
