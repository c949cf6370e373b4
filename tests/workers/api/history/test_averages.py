"""Exponential averages: by hand, and out of a real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import psycopg_pool
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.base.prices import FRESH, Price
from workers.api.history import averages as averages_module
from workers.api.history.averages import EMA_MINUTES, YOUNGEST_AGE, Averages, ClosePrice, ema_of

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
WALL_NS = int(NOW.timestamp()) * 10**9
MINUTE = WALL_NS // (60 * 10**9)
PRICE = Price("BTC", FRESH, b"{}", mantissa=1000, scale=1, confidence=10, timestamp_ms=WALL_NS // 10**6)
HOUR_MS = 3_600_000


def later(hours: float, asset: str = "BTC") -> Price:
    """The price of 100 again, so many hours later."""
    return PRICE._replace(asset=asset, timestamp_ms=PRICE.timestamp_ms + int(hours * HOUR_MS))


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


def expected_of(ages: range) -> Decimal:
    """By the formula: 100 now, and 50 at these ages in minutes."""
    weights = [(Decimal(59) / Decimal(61)) ** age for age in ages]
    return (100 + 50 * sum(weights, Decimal(0))) / (1 + sum(weights, Decimal(0)))


async def test_what_was_read_grows_old_while_the_database_is_away(stored: str) -> None:
    """Each close has the age of its minute, at every moment; four hours later it is the price itself."""
    async with psycopg_pool.AsyncConnectionPool(stored, open=False, min_size=1) as pool:
        averages = Averages(pool)
        await averages.of([PRICE], WALL_NS)
        await pool.close()
        for hours in (0, 1, 3.9, 10):
            price = later(hours)
            await averages.refresh(price.timestamp_ms * 10**6)  # and fails
            ages = range(YOUNGEST_AGE, EMA_MINUTES + 1) if not hours else range(int(hours * 60) + 2, EMA_MINUTES + 1)
            mean, _ = (await averages.of([price], price.timestamp_ms * 10**6))["BTC"]
            assert abs(mean - expected_of(ages)) < Decimal("1e-20")
        assert averages.known(later(10)) == (Decimal(100), Decimal(1))


async def test_processes_that_read_at_different_moments_of_a_minute_agree(stored: str) -> None:
    """One has just read, the other a minute ago."""
    found = []
    for read_ns in (WALL_NS - 59 * 10**9, WALL_NS):
        async with psycopg_pool.AsyncConnectionPool(stored, open=False, min_size=1) as pool:
            averages = Averages(pool)
            await averages.of([PRICE], read_ns)
            found.append(averages.known(PRICE))
    assert found[0] == found[1]


async def test_callers_of_a_new_asset_wait_for_one_reading_and_others_not_at_all(stored: str) -> None:
    """256 assets are a few statements; who comes while they run gets the same numbers."""
    names = [f"A{number}" for number in range(255)]
    prices = [PRICE, *(later(0, name) for name in names)]
    async with psycopg_pool.AsyncConnectionPool(stored, open=False, min_size=1) as pool:
        averages = Averages(pool)
        first, second = await asyncio.gather(averages.of([PRICE], WALL_NS), averages.of([PRICE], WALL_NS))
        assert first == second
        assert first["BTC"][0] < 52
        await averages.of(prices, WALL_NS)
        await averages.refresh(WALL_NS)
        assert averages._old(MINUTE) == []
        await pool.close()
        reading = averages._reading
        assert (await averages.of(prices, WALL_NS))["BTC"] == first["BTC"]
        assert averages._reading is reading


async def test_a_price_does_not_wait_for_a_database_that_hangs(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that somebody has locked: the price itself, within the wait, and the average once it is free."""
    monkeypatch.setattr(averages_module, "WAIT_SECONDS", 0.05)
    with psycopg.connect(stored) as holder:
        holder.execute("LOCK TABLE price_minute")
        async with psycopg_pool.AsyncConnectionPool(stored, open=False, min_size=1) as pool:
            await pool.wait()
            averages = Averages(pool)
            async with asyncio.timeout(60):
                assert (await averages.of([PRICE], WALL_NS))["BTC"] == (Decimal(100), Decimal(1))
            holder.rollback()
            async with asyncio.timeout(60):
                await averages.refresh(WALL_NS)
            assert averages.known(PRICE)[0] < 52


async def test_without_a_database_the_average_is_the_price() -> None:
    """A price does not wait for it."""
    pool = psycopg_pool.AsyncConnectionPool("host=/nonexistent", open=False)
    await pool.open(wait=False)
    try:
        assert (await Averages(pool).of([PRICE], WALL_NS))["BTC"] == (Decimal(100), Decimal(1))
    finally:
        await pool.close(timeout=1)


@given(st.lists(st.tuples(st.integers(-5, EMA_MINUTES + 5), st.decimals(min_value="0.01", max_value=10**6, places=2))))
def test_an_average_lies_between_its_prices(closes: list[tuple[int, Decimal]]) -> None:
    """Whatever minutes are missing, too old or ahead of the price; equal prices average to themselves."""
    mean, _ = ema_of(PRICE, [ClosePrice(MINUTE - age, price, Decimal(1)) for age, price in closes])
    prices = [PRICE.usd, *(price for _, price in closes)]
    assert min(prices) - Decimal("1e-9") <= mean <= max(prices) + Decimal("1e-9")
