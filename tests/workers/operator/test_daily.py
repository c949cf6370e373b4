"""workers/operator/daily.py"""

import datetime
import json
from typing import Any

import psycopg
import pytest

from trinity.cache.address import cache_settings
from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import DAILY, DAY_SECONDS
from trinity.store import queries
from trinity.vocabulary import LATENCY_BUCKETS
from workers.operator.daily import compute, keep_figures, publisher

TODAY = datetime.date(2026, 3, 2)
NOON = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)
HOUR = datetime.datetime(2026, 3, 2, 5, tzinfo=datetime.UTC)


@pytest.fixture
def connection(database_url: str) -> Any:
    with psycopg.connect(database_url, autocommit=True) as opened:
        yield opened


def _use(connection: Any, start: datetime.datetime, asset: str, protocol: int, status: int, requests: int) -> None:
    """One row of the hour's sums."""
    connection.execute("INSERT INTO assets (name) VALUES (%s) ON CONFLICT DO NOTHING", [asset])
    buckets = [requests] + [0] * (LATENCY_BUCKETS - 1)
    connection.execute(
        "INSERT INTO usage_hour SELECT %s, 7, id, %s, %s, 1, %s, %s, %s, %s FROM assets WHERE name = %s",
        [start, protocol, status, requests, 2 * requests, 500 * requests, buckets, asset],
    )


def test_the_figures_are_the_sums_of_the_day_and_of_no_other(connection: Any) -> None:
    """Requests, refusals, protocols in words, hours, assets and the histogram come out of the kept sums."""
    _use(connection, HOUR, "BTC", 0, 200, 10)
    _use(connection, HOUR + datetime.timedelta(hours=2), "ETH", 1, 429, 5)
    _use(connection, HOUR, "BTC", 0, 503, 1)
    _use(connection, HOUR + datetime.timedelta(days=1), "BTC", 0, 200, 1000)
    figures = compute(connection, NOON)
    assert figures is not None
    assert figures["day"] == "2026-03-02"
    assert (figures["requests"], figures["lookups"]) == (16, 32)
    assert (figures["refused"], figures["unavailable"], figures["keys"]) == (5, 1, 1)
    assert figures["by_protocol"] == {"http": 11, "udp_text": 5}
    assert figures["by_hour"] == {"5": 11, "7": 5}
    assert figures["top_assets"] == {"BTC": 22, "ETH": 10}
    assert figures["latency_buckets"] == [16] + [0] * (LATENCY_BUCKETS - 1)
    assert figures["mean_latency_ns"] == 500


def test_a_day_without_anything_has_figures_too(connection: Any) -> None:
    """Nothing was asked: zeros, not nulls, and valid JSON."""
    figures = compute(connection, NOON)
    assert figures is not None
    assert figures["requests"] == figures["candles"] == figures["mean_latency_ns"] == 0
    assert json.loads(json.dumps(figures)) == figures


def test_the_newest_drill_of_the_backups_is_among_the_figures(connection: Any) -> None:
    """That of a later day is not, nor one that still runs; without any there is none."""
    assert compute(connection, NOON)["drill"] is None
    for outcome, ended_at in (
        ("failed", "2026-02-20 03:00Z"),
        ("good", "2026-03-01 03:00Z"),
        ("failed", "2026-03-03 03:00Z"),
        ("running", None),
    ):
        connection.execute(
            "INSERT INTO drills (outcome, ended_at, base_age_seconds, lag_seconds, rpo_seconds, rto_seconds) "
            "VALUES (%s, %s, 3600, 4, 6, 95)",
            [outcome, ended_at],
        )
    found = compute(connection, NOON)["drill"]
    assert (found["outcome"], found["ended_at"]) == ("good", "2026-03-01T03:00:00+00:00")
    assert [found[f"{name}_seconds"] for name in ("base_age", "lag", "rpo", "rto")] == [3600, 4, 6, 95]


def test_figures_are_kept_and_today_s_are_computed_anew(connection: Any) -> None:
    """Each day has one row; what comes in later is in the next computation."""
    compute(connection, NOON)
    _use(connection, HOUR, "BTC", 0, 200, 3)
    compute(connection, NOON)
    rows = (connection.execute("SELECT day, figures->'requests' FROM daily_figures ORDER BY day")).fetchall()
    assert rows[-1] == (TODAY, 3)
    assert len(rows) == len({day for day, _ in rows})
    (latest,) = (connection.execute(queries.load("dashboard.latest_figures"))).fetchone()
    assert latest["day"] == TODAY.isoformat()


def test_yesterday_is_computed_once_more_after_its_end(connection: Any) -> None:
    """What the flusher brings after midnight is in the figures that stay."""
    compute(connection, NOON)
    _use(connection, HOUR, "BTC", 0, 200, 3)
    for later in ("ETH", "SOL"):
        compute(connection, NOON + datetime.timedelta(days=1))
        query = "SELECT figures->'requests' FROM daily_figures WHERE day = %s"
        assert (connection.execute(query, [TODAY])).fetchone() == (3,)
        _use(connection, HOUR, later, 0, 200, 100)


def test_the_newest_figures_are_published_for_a_day(connection: Any, valkey_url: str) -> None:
    """kcc:daily is today's, as JSON, and ends by itself."""
    client = SyncCacheClient.open(cache_settings(valkey_url))
    figures = keep_figures(connection, NOON, publisher(client))
    assert json.loads(client.get(DAILY.name()) or b"{}") == figures
    assert 0 < client.run([("TTL", DAILY.name())])[0] <= DAY_SECONDS
    client.close()


def test_figures_are_kept_without_valkey(connection: Any) -> None:
    """One that is away is no failure, and neither is none."""
    away = SyncCacheClient.open(cache_settings("valkey://127.0.0.1:1"))
    for client in (None, away):
        assert keep_figures(connection, NOON, publisher(client))["requests"] == 0
    away.close()
