"""Candles out of a real PostgreSQL, against a naive model of the same minutes."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.api.history.candles import (
    GRANULARITIES,
    STEPS,
    Candle,
    Gap,
    Granularity,
    average_of,
    buckets_of,
    fetch_average,
    fetch_candles,
    gaps_of,
    plain,
)

# The night in which Berlin's clocks go forward: its 29 March 2026 has 23 hours.
START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ZONES = [ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")]
T = TypeVar("T")


class Row(NamedTuple):
    """One minute as the table keeps it; prices in cents."""

    open: int
    high: int
    low: int
    close: int
    weighted_ms: int
    samples: int


ROWS = st.builds(
    lambda prices, weighted_ms, samples: Row(prices[1], max(prices), min(prices), prices[2], weighted_ms, samples),
    st.lists(st.integers(min_value=1, max_value=10**9), min_size=4, max_size=4),
    st.integers(min_value=0, max_value=60_000),
    st.integers(min_value=0, max_value=100),
)
# Minutes after START with a price; the rest of two days are gaps.
MINUTES = st.dictionaries(st.integers(min_value=0, max_value=2 * 1440), ROWS, max_size=60)


def run(url: str, use: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            return await use(connection)

    return asyncio.run(connected())


async def insert(connection: psycopg.AsyncConnection[Any], minutes: dict[int, Row]) -> None:
    await connection.execute("TRUNCATE price_minute")
    await connection.execute("INSERT INTO assets (name) VALUES ('BTC'), ('ETH') ON CONFLICT DO NOTHING")
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO price_minute VALUES ((SELECT id FROM assets WHERE name = 'BTC'), %s, %s, %s, %s, %s, 6, 0.5, "
            "%s, %s, %s, 1)",
            [
                (
                    START + MINUTE * offset,
                    *(Decimal(price) / 100 for price in row[:4]),
                    row.samples,
                    Decimal(row.close * row.weighted_ms) / 100,
                    row.weighted_ms,
                )
                for offset, row in minutes.items()
            ],
        )


def naive_candles(minutes: dict[int, Row], buckets: list[datetime]) -> list[Candle]:
    """The same by definition, bucket by bucket."""
    candles = []
    for start, end in itertools.pairwise(buckets):
        rows = [row for offset, row in sorted(minutes.items()) if start <= START + MINUTE * offset < end]
        if not rows:
            continue
        weighted_ms = sum(row.weighted_ms for row in rows)
        weighted_sum = Decimal(sum(row.close * row.weighted_ms for row in rows)) / 100
        prices = (rows[0].open, max(row.high for row in rows), min(row.low for row in rows), rows[-1].close)
        candles.append(
            Candle(
                start,
                end,
                *(plain(Decimal(price) / 100) for price in prices),
                average=average_of(weighted_sum, weighted_ms),
                confidence=Decimal("0.5"),
                sources=6,
                samples=sum(row.samples for row in rows),
                coverage=round(weighted_ms / ((end - start).total_seconds() * 1000), 6),
            )
        )
    return candles


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    MINUTES,
    st.sampled_from(GRANULARITIES),
    st.integers(min_value=-100_000, max_value=100_000),
    st.integers(min_value=1, max_value=200_000),
    st.sampled_from(ZONES),
)
def test_candles_are_what_their_minutes_say(
    database_url: str, minutes: dict[int, Row], granularity: Granularity, from_s: int, seconds: int, zone: ZoneInfo
) -> None:
    """Any range, granularity and time zone: the same candles as by definition, gaps where no minute is."""
    start = START + timedelta(seconds=from_s)
    end = start + timedelta(seconds=seconds)

    async def ask(connection: psycopg.AsyncConnection[Any]) -> list[Candle]:
        await insert(connection, minutes)
        return await fetch_candles(connection, "BTC", granularity, start, end, zone)

    candles = run(database_url, ask)
    buckets = buckets_of(granularity, start, end, zone)
    assert candles == naive_candles(minutes, buckets)
    gaps = gaps_of(candles, buckets)
    covered = sorted([(one.start, one.end) for one in candles] + [(gap.start, gap.end) for gap in gaps])
    assert covered[0][0] == buckets[0]
    assert covered[-1][1] == buckets[-1]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(covered))


@given(
    st.sampled_from(GRANULARITIES),
    st.integers(min_value=0, max_value=4 * 10**9),
    st.integers(min_value=1, max_value=10**6),
    st.sampled_from([*ZONES, ZoneInfo("Pacific/Apia"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_buckets_cover_the_range_without_overlap(
    granularity: Granularity, from_s: int, seconds: int, zone: ZoneInfo
) -> None:
    """First bucket at or before the range, last one at or after its end; days begin at midnight of the zone."""
    start = datetime.fromtimestamp(from_s, UTC)
    end = start + timedelta(seconds=seconds)
    buckets = buckets_of(granularity, start, end, zone)

    assert buckets[0] <= start < buckets[1]
    assert buckets[-2] < end <= buckets[-1]
    lengths = {after - before for before, after in itertools.pairwise(buckets)}
    if granularity != "1d":
        assert lengths == {STEPS[granularity]}
    elif zone.key != "Pacific/Apia":
        assert all(timedelta(hours=23) <= length <= timedelta(hours=25) for length in lengths)
        assert all(bucket.astimezone(zone).hour <= 1 for bucket in buckets)


def test_a_day_of_a_clock_change_has_its_own_length() -> None:
    """Berlin, 29 March 2026: 23 hours."""
    days = buckets_of("1d", START, START + timedelta(days=2), ZoneInfo("Europe/Berlin"))
    assert [(after - before).total_seconds() / 3600 for before, after in itertools.pairwise(days)] == [
        24,
        23,
        24,
    ]


def test_neighbouring_empty_buckets_are_one_gap() -> None:
    """Gaps are ranges, so that a week without prices is one line."""
    buckets = buckets_of("1m", START, START + 5 * MINUTE)
    one = Decimal(1)
    candle = Candle(START + 2 * MINUTE, START + 3 * MINUTE, one, one, one, one, one, one, 3, 1, 1.0)
    assert gaps_of([candle], buckets) == [
        Gap(START, START + 2 * MINUTE),
        Gap(START + 3 * MINUTE, START + 5 * MINUTE),
    ]


def test_an_average_is_exact_and_says_how_much_it_covers(database_url: str) -> None:
    """The weighted sum over its weight, over the minutes of the range alone; nothing where nothing stood."""
    minutes = {0: Row(100, 100, 100, 100, 60_000, 1), 1: Row(300, 300, 300, 300, 20_000, 1), 5: Row(9, 9, 9, 9, 0, 1)}

    async def ask(connection: psycopg.AsyncConnection[Any]) -> list[Any]:
        await insert(connection, minutes)
        ranges = [(0, 2), (2, 4), (5, 6)]
        return [await fetch_average(connection, "BTC", START + MINUTE * a, START + MINUTE * b) for a, b in ranges]

    both, nothing, weightless = run(database_url, ask)
    assert both == (Decimal("1.5"), 0.666667, 2)
    assert nothing == (None, 0.0, 0)
    assert weightless == (None, 0.0, 1)


def test_an_unknown_asset_has_no_candles(database_url: str) -> None:
    """A name is a value, never a part of the statement."""

    async def ask(connection: psycopg.AsyncConnection[Any]) -> list[Candle]:
        return await fetch_candles(connection, "'; DROP TABLE price_minute; --", "1h", START, START + MINUTE)

    assert run(database_url, ask) == []


@pytest.mark.parametrize(
    ("weighted_sum", "weighted_ms", "expected"),
    [
        ("200", 3, "66.6666666667"),
        ("7E+5", 7, "100000"),
        ("0.00000003", 9, "0.00000000333333333333"),
    ],
)
def test_averages_have_as_many_digits_as_mean_something(weighted_sum: str, weighted_ms: int, expected: str) -> None:
    """Twelve, rounded half to even, without an exponent and without trailing zeros."""
    assert str(average_of(Decimal(weighted_sum), weighted_ms)) in (expected, str(Decimal(expected)))
