"""Bars against an aggregation of the same minutes that shares nothing with theirs."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.api.dropins.bars import BARS_MAX, RESOLUTIONS, Bar, fetch_bars, last_before, next_bar

# A Tuesday, so that the five weeks behind it begin in the middle of one.
FIRST = datetime(2024, 2, 27, 21, 17, tzinfo=UTC)
MINUTES = 5 * 7 * 24 * 60
EPOCH = datetime.fromtimestamp(0, UTC)


class Minute(NamedTuple):
    """A stored minute; prices are whole numbers, so that nothing is rounded."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


prices = st.integers(1, 1000).map(Decimal)
minutes = st.dictionaries(
    # Some lie close together, some in other weeks.
    st.one_of(st.integers(0, 60), st.integers(3 * 24 * 60, 3 * 24 * 60 + 600), st.integers(0, MINUTES)),
    st.tuples(prices, prices, prices, prices),
    min_size=1,
    max_size=60,
)
moments = st.integers(-3 * 24 * 3600, MINUTES * 60 + 3 * 24 * 3600).map(lambda after: FIRST + timedelta(seconds=after))


def begin_of(resolution: str, moment: datetime) -> datetime:
    """When the bar of a moment begins, by the calendar."""
    midnight = moment.replace(hour=0, minute=0, second=0)
    if resolution == "1W":
        return midnight - timedelta(days=midnight.weekday())
    if resolution == "1D":
        return midnight
    length = int(resolution)
    return midnight + timedelta(minutes=(moment.hour * 60 + moment.minute) // length * length)


def expected(stored: list[Minute], resolution: str) -> list[Bar]:
    """All bars, oldest first."""
    bars: dict[datetime, list[Minute]] = {}
    for minute in sorted(stored):
        bars.setdefault(begin_of(resolution, minute.start), []).append(minute)
    return [
        Bar(int(begin.timestamp()), of[0].open, max(m.high for m in of), min(m.low for m in of), of[-1].close)
        for begin, of in bars.items()
    ]


def store(connection: psycopg.Connection, stored: list[Minute]) -> None:
    connection.execute("DELETE FROM price_minute")
    connection.cursor().executemany(
        "INSERT INTO price_minute SELECT id, %s, %s, %s, %s, %s, 5, 2, 9, 0, 1, 1 FROM assets WHERE name = 'BTC'",
        stored,
    )
    connection.commit()


@pytest.fixture
def minutes_url(database_url: str) -> str:
    """A database that knows BTC, and an asset with minutes that are never asked for."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute("INSERT INTO assets (name) VALUES ('BTC'), ('ETH')")
    return database_url


def test_each_resolution_is_an_aggregation_of_the_minutes(minutes_url: str) -> None:
    """Every bar of every resolution, range and count has the open, high, low and close of its minutes; weeks begin on
    Monday, and the last bar before a moment is the last of them."""
    loop = asyncio.new_event_loop()

    @settings(max_examples=60, deadline=None)
    @given(minutes, st.sampled_from(list(RESOLUTIONS)), moments, moments, st.integers(1, 20))
    def check(given_minutes: dict[int, tuple[Decimal, ...]], resolution: str, a: datetime, b: datetime, n: int) -> None:
        stored = [Minute(FIRST + timedelta(minutes=after), *of) for after, of in given_minutes.items()]
        store(connection, stored)
        step, (start, end) = RESOLUTIONS[resolution], sorted((a, b))
        bars = expected(stored, resolution)
        inside = [bar for bar in bars if start.timestamp() <= bar.time < end.timestamp()]
        older = [bar for bar in bars if bar.time < end.timestamp()]
        assert loop.run_until_complete(fetch_bars(asking, "BTC", step, start, end, BARS_MAX)) == inside
        assert loop.run_until_complete(fetch_bars(asking, "BTC", step, start, end, n)) == inside[-n:]
        assert loop.run_until_complete(fetch_bars(asking, "BTC", step, EPOCH, end, n)) == older[-n:]
        last = older[-1].time if older else None
        assert loop.run_until_complete(last_before(asking, "BTC", step, end)) == last

    with psycopg.connect(minutes_url) as connection:
        asking = loop.run_until_complete(psycopg.AsyncConnection.connect(minutes_url, autocommit=True))
        check()
        loop.run_until_complete(asking.close())
    loop.close()


@given(st.sampled_from(list(RESOLUTIONS)), moments)
def test_the_next_bar_is_the_first_that_does_not_begin_before(resolution: str, moment: datetime) -> None:
    """It begins by the calendar, at the moment or less than a step after it."""
    step = RESOLUTIONS[resolution]
    following = next_bar(step, moment)
    assert begin_of(resolution, following) == following
    assert timedelta() <= following - moment < step


async def test_an_asset_without_minutes_has_no_bars(minutes_url: str) -> None:
    """Neither has one that is not in the database."""
    async with await psycopg.AsyncConnection.connect(minutes_url) as connection:
        for asset in ("ETH", "NOPE"):
            assert await fetch_bars(connection, asset, RESOLUTIONS["1D"], EPOCH, FIRST, 5) == []
            assert await last_before(connection, asset, RESOLUTIONS["1D"], FIRST) is None
