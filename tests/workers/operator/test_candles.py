"""Minutes from the candle files into a real PostgreSQL: once each, whatever happens in between."""

import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from trinity.memory.candle_table import CAPACITY, CandleFile, CandleTable, Minute, candle_of, to_fixed
from trinity.store.connect import connect
from workers.operator.candles import load_candles

LOG = logging.getLogger("tests.candles")
NODE = uuid.UUID(int=7)
FIRST = 29_000_000


def minute_of(number: int, price: str = "71000.5", samples: int = 3) -> Minute:
    fixed = to_fixed(Decimal(price))
    return Minute(number, fixed, fixed, fixed, fixed, to_fixed(Decimal("0.25")), fixed * 60_000, 60_000, samples, 6)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO nodes (uuid, name) VALUES (%s, 'test')", [NODE])
        yield opened


def stored(connection: psycopg.Connection[Any], asset: str = "BTC") -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT minute, open, weighted_sum, samples FROM price_minute JOIN assets ON id = asset_id WHERE name = %s "
        "ORDER BY minute",
        [asset],
    ).fetchall()


def test_closed_minutes_are_stored_exactly_and_released(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    """Every digit arrives, also of the smallest price; a second call finds nothing to do."""
    smallest = CandleFile.open(tmp_path, "PEPE")
    smallest.append(candle_of(minute_of(FIRST, "0.00000000123456789012")))
    large = CandleFile.open(tmp_path, "BTC")
    large.append(candle_of(minute_of(FIRST)))
    large.append(candle_of(minute_of(FIRST + 2)))
    table = CandleTable(tmp_path, LOG)

    assert load_candles(connection, table, NODE) == 3
    assert load_candles(connection, table, NODE) == 0
    times = [datetime.fromtimestamp((FIRST + offset) * 60, UTC) for offset in (0, 2)]
    assert stored(connection) == [(time, Decimal("71000.5"), Decimal(4_260_030_000), 3) for time in times]
    assert stored(connection, "PEPE")[0][1] == Decimal("0.00000000123456789012")
    assert large.released == large.written == 2


def test_a_crash_before_the_release_changes_nothing(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    """What was committed but not released is loaded again; the fuller row of a minute stays."""
    file = CandleFile.open(tmp_path, "BTC")
    file.append(candle_of(minute_of(FIRST, "100", samples=5)))
    load_candles(connection, CandleTable(tmp_path, LOG), NODE)
    file.release(0)
    load_candles(connection, CandleTable(tmp_path, LOG), NODE)
    file.append(candle_of(minute_of(FIRST, "200", samples=2)))
    file.append(candle_of(minute_of(FIRST, "300", samples=1)))
    load_candles(connection, CandleTable(tmp_path, LOG), NODE)
    assert [row[1] for row in stored(connection)] == [100]

    file.append(candle_of(minute_of(FIRST, "400", samples=9)))
    load_candles(connection, CandleTable(tmp_path, LOG), NODE)
    assert [row[1] for row in stored(connection)] == [400]


def test_a_day_without_a_database_is_caught_up_in_one_call(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    """All that the ring still holds is loaded, in transactions of a bounded size."""
    file = CandleFile.open(tmp_path, "BTC")
    for offset in range(CAPACITY + 10):
        file.append(candle_of(minute_of(FIRST + offset)))

    assert load_candles(connection, CandleTable(tmp_path, LOG), NODE) == CAPACITY - 1
    assert len(stored(connection)) == CAPACITY - 1


def test_a_failing_database_releases_nothing(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    """The error reaches the caller, and the minutes wait in their file."""
    file = CandleFile.open(tmp_path, "BTC")
    file.append(candle_of(minute_of(FIRST)))
    connection.execute("ALTER TABLE price_minute RENAME TO elsewhere")
    with pytest.raises(psycopg.Error):
        load_candles(connection, CandleTable(tmp_path, LOG), NODE)
    assert file.released == 0

    connection.execute("ALTER TABLE elsewhere RENAME TO price_minute")
    assert load_candles(connection, CandleTable(tmp_path, LOG), NODE) == 1


def test_minutes_wait_until_the_ledger_has_made_the_node_known(
    connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """A minute bears its node's number: before there is one nothing is stored and nothing released."""
    file = CandleFile.open(tmp_path, "BTC")
    file.append(candle_of(minute_of(FIRST)))
    other = uuid.UUID(int=8)
    assert load_candles(connection, CandleTable(tmp_path, LOG), other) == file.released == 0
    connection.execute("INSERT INTO nodes (uuid, name) VALUES (%s, 'other')", [other])
    assert load_candles(connection, CandleTable(tmp_path, LOG), other) == 1
