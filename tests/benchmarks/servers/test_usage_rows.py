"""The made usage: sums that agree with their rows."""

from datetime import UTC, datetime
from typing import Any

import psycopg

from benchmarks.servers.usage_rows import fill

END = datetime(2026, 3, 31, tzinfo=UTC)


def test_sums_agree_with_the_single_requests(database_url: str) -> None:
    """Minutes, hours and days, by key and over all keys, hold as many requests as the log."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        made = list(fill(connection, rows=1, days=2, keys=3, end=END))

        def one(statement: str) -> tuple[Any, ...] | None:
            return connection.execute(statement).fetchone()

        log = "SELECT count(*), count(DISTINCT date_trunc('day', time)), max(key_id) <= 3 FROM usage_log"
        assert one(log) == (made[-1], 2, True)
        for table in ("usage_minute", "usage_hour", "usage_day", "usage_hour_all", "usage_day_all"):
            counted = "SELECT sum(requests), sum((SELECT sum(inside) FROM unnest(latency_buckets) AS inside))"
            assert one(f"{counted} FROM {table}") == (made[-1], made[-1])
