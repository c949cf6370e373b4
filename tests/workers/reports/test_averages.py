"""Exponential averages: by hand, and out of a real database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import psycopg_pool
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.reports.averages import EMA_MINUTES, Averages, Close, ema_of
from workers.reports.prices import FRESH, Price

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
WALL_NS = int(NOW.timestamp()) * 10**9
PRICE = Price("BTC", FRESH, b"{}", mantissa=1000, scale=1, confidence=10)


@pytest.fixture
def stored(database_url: str) -> str:
    """A database with a steady price of 50, confidence 2, in every minute before NOW."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
        minute = NOW.replace(second=0)
        for age in range(1, EMA_MINUTES + 10):
            connection.execute(
                "INSERT INTO price_minute (asset_id, minute, open, high, low, close, sources, confidence, samples,"
                " weighted_sum, weighted_ms, node_id) SELECT assets.id, %s, 50, 50, 50, 50, 5, 2, 9, 3000000, 60000,"
                " nodes.id FROM assets, nodes",
                (minute - timedelta(minutes=age),),
            )
    return database_url


async def test_two_processes_average_the_same_minutes(stored: str) -> None:
    """Nearly all weight is on the stored minutes, and every process gets the same digits."""
    found = []
    for _ in range(2):
        async with psycopg_pool.AsyncConnectionPool(stored, open=False, min_size=1) as pool:
            averages = Averages(pool)
            found.append((await averages.of([PRICE], WALL_NS))["BTC"])
            assert averages.known(PRICE) == found[-1]
    mean, confidence = found[0]
    assert found[0] == found[1]
    assert Decimal(50) < mean < Decimal("51.8")
    assert Decimal("1.9") < confidence < 2


async def test_without_a_database_the_average_is_the_price() -> None:
    """A price does not wait for it."""
    pool = psycopg_pool.AsyncConnectionPool("host=/nonexistent", open=False)
    await pool.open(wait=False)
    try:
        assert (await Averages(pool).of([PRICE], WALL_NS))["BTC"] == (Decimal(100), Decimal(1))
    finally:
        await pool.close(timeout=1)


@given(st.lists(st.tuples(st.integers(1, EMA_MINUTES), st.decimals(min_value="0.01", max_value=10**6, places=2))))
def test_an_average_lies_between_its_prices(closes: list[tuple[int, Decimal]]) -> None:
    """Whatever minutes are missing; equal prices average to themselves."""
    mean, _ = ema_of(PRICE, [Close(age, price, Decimal(1)) for age, price in closes])
    prices = [PRICE.usd, *(price for _, price in closes)]
    assert min(prices) - Decimal("1e-9") <= mean <= max(prices) + Decimal("1e-9")
