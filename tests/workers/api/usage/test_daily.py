"""workers/api/usage/daily.py"""

import asyncio
import datetime
import json
import logging
from typing import Any

import psycopg
import pytest

from tests.workers.api.conftest import NO_DATABASE
from trinity.clock import SystemClock
from trinity.store import queries
from trinity.vocabulary import LATENCY_BUCKETS
from workers.api.base.cache import Cache
from workers.api.usage import daily
from workers.api.usage.daily import compute, now_of

TODAY = datetime.date(2026, 3, 2)
NOON = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)
HOUR = datetime.datetime(2026, 3, 2, 5, tzinfo=datetime.UTC)


@pytest.fixture
async def connection(database_url: str) -> Any:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as opened:
        yield opened


async def _use(
    connection: Any, start: datetime.datetime, asset: str, protocol: int, status: int, requests: int
) -> None:
    """One row of the hour's sums."""
    await connection.execute("INSERT INTO assets (name) VALUES (%s) ON CONFLICT DO NOTHING", [asset])
    buckets = [requests] + [0] * (LATENCY_BUCKETS - 1)
    await connection.execute(
        "INSERT INTO usage_hour SELECT %s, 7, id, %s, %s, 1, %s, %s, %s, %s FROM assets WHERE name = %s",
        [start, protocol, status, requests, 2 * requests, 500 * requests, buckets, asset],
    )


async def test_the_figures_are_the_sums_of_the_day_and_of_no_other(connection: Any) -> None:
    """Requests, refusals, protocols in words, hours, assets and the histogram come out of the kept sums."""
    await _use(connection, HOUR, "BTC", 0, 200, 10)
    await _use(connection, HOUR + datetime.timedelta(hours=2), "ETH", 1, 429, 5)
    await _use(connection, HOUR, "BTC", 0, 503, 1)
    await _use(connection, HOUR + datetime.timedelta(days=1), "BTC", 0, 200, 1000)
    figures = await compute(connection, NOON)
    assert figures is not None
    assert figures["day"] == "2026-03-02"
    assert (figures["requests"], figures["lookups"]) == (16, 32)
    assert (figures["refused"], figures["unavailable"], figures["keys"]) == (5, 1, 1)
    assert figures["by_protocol"] == {"http": 11, "udp_text": 5}
    assert figures["by_hour"] == {"5": 11, "7": 5}
    assert figures["top_assets"] == {"BTC": 22, "ETH": 10}
    assert figures["latency_buckets"] == [16] + [0] * (LATENCY_BUCKETS - 1)
    assert figures["mean_latency_ns"] == 500


async def test_a_day_without_anything_has_figures_too(connection: Any) -> None:
    """Nothing was asked: zeros, not nulls, and valid JSON."""
    figures = await compute(connection, NOON)
    assert figures is not None
    assert figures["requests"] == figures["candles"] == figures["mean_latency_ns"] == 0
    assert json.loads(json.dumps(figures)) == figures


async def test_figures_are_kept_and_today_s_are_computed_anew(connection: Any) -> None:
    """Each day has one row; what comes in later is in the next computation."""
    await compute(connection, NOON)
    await _use(connection, HOUR, "BTC", 0, 200, 3)
    await compute(connection, NOON)
    rows = await (
        await connection.execute("SELECT day, figures->'requests' FROM daily_figures ORDER BY day")
    ).fetchall()
    assert rows[-1] == (TODAY, 3)
    assert len(rows) == len({day for day, _ in rows})
    (latest,) = await (await connection.execute(queries.load("dashboard.latest_figures"))).fetchone()
    assert latest["day"] == TODAY.isoformat()


async def test_one_job_in_the_cluster_computes(connection: Any, database_url: str) -> None:
    """While another node holds the lock, nothing is computed twice."""
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute(queries.load("dashboard.lock"))
        assert await compute(connection, NOON) is None
    assert await compute(connection, NOON) is not None


async def test_yesterday_is_computed_once_more_after_its_end(connection: Any) -> None:
    """What the flusher brings after midnight is in the figures that stay."""
    await compute(connection, NOON)
    await _use(connection, HOUR, "BTC", 0, 200, 3)
    for later in ("ETH", "SOL"):
        await compute(connection, NOON + datetime.timedelta(days=1))
        query = "SELECT figures->'requests' FROM daily_figures WHERE day = %s"
        assert await (await connection.execute(query, [TODAY])).fetchone() == (3,)
        await _use(connection, HOUR, later, 0, 200, 100)


async def test_a_database_that_is_late_is_soon_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first figures of a node need not wait a minute because its database began after it."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(daily.asyncio, "sleep", sleep)
    clock, log = SystemClock(), logging.getLogger("tests.daily")
    with pytest.raises(asyncio.CancelledError):
        await daily.run(lambda: psycopg.AsyncConnection.connect(NO_DATABASE), Cache(None, clock, None), clock, log)  # type: ignore[arg-type]
    assert waits == [daily.RETRY_SECONDS]


def test_the_time_is_that_of_utc() -> None:
    """The wall clock decides, in UTC."""

    class Noon:
        def monotonic_ns(self) -> int:
            return 0

        def wall_ns(self) -> int:
            return int(NOON.timestamp() * 1e9)

    assert now_of(Noon()) == NOON
