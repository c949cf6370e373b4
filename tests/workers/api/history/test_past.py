"""Past prices out of a real database, and without one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import psycopg_pool
import pytest

from tests.support.clocks import ManualClock
from tests.workers.api.minutes import store_minutes
from workers.api.history.past import BELIEVED_MINUTES, WINDOWS, Past, PastPrices

NOW = datetime(2026, 1, 1, tzinfo=UTC)  # of a ManualClock
MINUTE = 60


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[psycopg_pool.AsyncConnectionPool]:
    async with psycopg_pool.AsyncConnectionPool(database_url, min_size=1, open=False) as opened:
        yield opened


def age_of(window: timedelta) -> int:
    """The age of the minute whose close stood at the beginning of the window."""
    return int(window.total_seconds()) // 60 + 1


async def test_each_window_has_the_close_that_stood_at_its_beginning(
    pool: psycopg_pool.AsyncConnectionPool, database_url: str
) -> None:
    """Not the one of a minute later; extremes are those of the minutes inside the day."""
    for number, window in enumerate(WINDOWS.values()):
        store_minutes(database_url, "BTC", str(100 + number), [age_of(window)], NOW)
        store_minutes(database_url, "BTC", str(900 + number), [age_of(window) - 1], NOW)
    past = (await PastPrices(pool, ManualClock()).of(["BTC"]))["BTC"]
    assert past.prices == {name: Decimal(100 + number) for number, name in enumerate(WINDOWS)}
    assert (past.high, past.low) == (901, 100), "of an hour ago the low, of a day ago the minute behind it"


async def test_a_price_stands_in_for_a_moment_only_near_it(
    pool: psycopg_pool.AsyncConnectionPool, database_url: str
) -> None:
    """An hour before the day's beginning counts, two do not; without a beginning there are no extremes."""
    day = WINDOWS["24h"]
    store_minutes(database_url, "BTC", "50", [age_of(day) + 59, 5], NOW)
    store_minutes(database_url, "ETH", "50", [age_of(day) + 61, 5], NOW)
    pasts = await PastPrices(pool, ManualClock()).of(["BTC", "ETH", "SOL"])
    assert pasts["BTC"].prices["24h"] == pasts["BTC"].high == 50
    assert pasts["ETH"] == pasts["SOL"] == Past()


async def test_the_database_is_asked_once_a_minute_for_all(
    pool: psycopg_pool.AsyncConnectionPool, database_url: str
) -> None:
    """Who asks in between gets the same; the next minute is read while the last one is still answered."""
    store_minutes(database_url, "BTC", "50", [age_of(WINDOWS["1h"])], NOW)
    clock = ManualClock()
    past = PastPrices(pool, clock)
    first, again = await asyncio.gather(past.of(["BTC"]), past.of(["BTC"]))
    assert first == again == {"BTC": Past({"1h": Decimal(50)})}
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE price_minute SET close = 60")
    assert await past.of(["BTC"]) == first
    clock.advance(MINUTE)
    assert await past.of(["BTC"]) == first, "nobody waits for what is a minute old"
    async with asyncio.timeout(60):
        while await past.of(["BTC"]) == first:
            await asyncio.sleep(0.01)


async def test_what_was_read_is_believed_for_minutes_and_then_nothing_is_known(
    pool: psycopg_pool.AsyncConnectionPool, database_url: str
) -> None:
    """A database that goes away takes the past with it, not the prices of now."""
    store_minutes(database_url, "BTC", "50", [age_of(WINDOWS["1h"])], NOW)
    clock = ManualClock()
    past = PastPrices(pool, clock)
    known = await past.of(["BTC"])
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE price_minute CASCADE")
    clock.advance(BELIEVED_MINUTES * MINUTE)
    assert await past.of(["BTC"]) == known
    clock.advance(MINUTE)
    assert await past.of(["BTC"]) == {"BTC": Past()}


async def test_a_line_of_seven_days_has_each_hour_that_had_a_price(
    pool: psycopg_pool.AsyncConnectionPool, database_url: str
) -> None:
    """Oldest first; hours without one are left out, never filled."""
    for hours in (3, 2, 167):
        store_minutes(database_url, "BTC", str(hours), [60 * hours + 1], NOW)
    line = await PastPrices(pool, ManualClock()).sparklines(["BTC", "ETH"])
    assert line == {"BTC": ["167", "3", "2"], "ETH": []}
