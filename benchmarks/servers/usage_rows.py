"""A database full of usage, made by PostgreSQL itself: single requests of many keys, and the sums of them.

Rules: made day by day, each day one partition and one transaction, so that the machine's memory does not matter. Keys
come and go in sessions: a key asks for one asset, over one protocol, some times within a minute. A few keys ask most.
The first day is made up, the others repeat it: copying is ten times as fast, and a report sees no difference.
"""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg

from trinity.vocabulary import CODES, LATENCY_BOUNDS_NS

_DAY = timedelta(days=1)
_SESSION_REQUESTS = 18  # a client that asks every three seconds
_ASSETS = 25

_KEYS = """
WITH account AS (
    INSERT INTO accounts (name) SELECT 'account ' || number FROM generate_series(1, %(keys)s) AS number RETURNING id
)
INSERT INTO api_keys (account_id, plan_id, digest, prefix)
SELECT id, 1, sha256(('key-' || id)::bytea), 'key-' || id FROM account
"""

_ASSET_NAMES = "INSERT INTO assets (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"

_MADE = "CREATE TEMPORARY TABLE made ON COMMIT DROP AS SELECT * FROM usage_log WITH NO DATA"

_REQUESTS = """
INSERT INTO made
SELECT minute + random() * interval '59.9 s', (extract(epoch FROM minute)::bigint << 24) + session * 64 + number,
       '::ffff:10.0.0.1', key_id,
       (5000 + 20000 * random() ^ 3 + CASE WHEN random() < 0.01 THEN 2000000 ELSE 0 END)::bigint,
       1, asset_id, 1, CASE outcome WHEN 0 THEN 200 WHEN 1 THEN 429 ELSE 404 END, key_id %% 4, 1,
       CASE outcome WHEN 0 THEN 0 WHEN 1 THEN %(rate_limited)s ELSE %(unknown_asset)s END, 1
FROM generate_series(%(day)s, %(day)s + interval '1439 min', interval '1 min') AS minute
CROSS JOIN LATERAL (
    SELECT session, 1 + floor(%(keys)s * random() ^ 3)::integer AS key_id,
           1 + floor(%(assets)s * random() ^ 2)::integer AS asset_id,
           CASE WHEN random() < 0.97 THEN 0 WHEN random() < 0.7 THEN 1 ELSE 2 END AS outcome
    FROM generate_series(1, %(sessions)s) AS session
    WHERE minute IS NOT NULL
) AS asking
CROSS JOIN generate_series(1, %(requests)s) AS number
"""

_REPEATED = """
INSERT INTO {table}
SELECT second + interval '1 day', base_id + (86400::bigint << 24), key_id, node_id, rows, protocol, status, code,
       weight, words
FROM usage_runs WHERE second >= %(day)s - interval '1 day' AND second < %(day)s
"""

_REPEATED_SUMS = """
INSERT INTO {table}
SELECT start + interval '1 day', key_id, asset_id, protocol, status, node_id, requests, lookups, latency_sum_ns,
       latency_buckets
FROM {table} WHERE start >= %(day)s - interval '1 day' AND start < %(day)s
"""

_SUMS = """
INSERT INTO {target}
SELECT {start}, key_id, asset_id, protocol, status, node_id, {requests}, {lookups}, {latency}, ARRAY[{buckets}]
FROM {source} WHERE {time} >= %(day)s AND {time} < %(day)s + interval '1 day'
GROUP BY 1, 2, 3, 4, 5, 6
"""


def fill(connection: "psycopg.Connection[Any]", rows: int, days: int, keys: int, end: datetime) -> Iterator[int]:
    """Make about `rows` requests in the `days` before `end` (a midnight); yields the rows after each day."""
    sessions = max(1, round(rows / days / 1440 / _SESSION_REQUESTS))
    numbers = {
        "keys": keys, "assets": _ASSETS, "sessions": sessions, "requests": _SESSION_REQUESTS,
        "rate_limited": CODES.index("rate_limited"), "unknown_asset": CODES.index("unknown_asset"),
    }  # fmt: skip
    connection.execute(_KEYS, numbers)
    connection.execute(_ASSET_NAMES, [[f"A{number}" for number in range(_ASSETS)]])
    connection.commit()
    made = a_day = 0
    for number in range(days):
        day = end - (days - number) * _DAY
        if number:
            _repeat(connection, day)
        else:
            runs = _create(connection, day)
            _attach(connection, runs, day)
            connection.execute(_MADE)
            a_day = connection.execute(_REQUESTS, {**numbers, "day": day}).rowcount
            connection.execute("SELECT pack_usage('made')")
            for statement in sums():
                connection.execute(statement, {"day": day})
        made += a_day
        connection.commit()
        yield made


def repeat_day(connection: "psycopg.Connection[Any]", day: datetime) -> int:
    """The day before once more as `day` (a midnight); its rows."""
    _repeat(connection, day)
    row = connection.execute("SELECT sum(rows)::bigint FROM usage_runs WHERE second >= %s", [day]).fetchone()
    connection.commit()
    assert row is not None
    return int(row[0])


def _repeat(connection: "psycopg.Connection[Any]", day: datetime) -> None:
    runs = _create(connection, day)
    connection.execute(_REPEATED.format(table=runs), {"day": day})
    # Attached when it is full: an index is built faster than it grows.
    _attach(connection, runs, day)
    for statement in _repeated_sums():
        connection.execute(statement, {"day": day})


def _create(connection: "psycopg.Connection[Any]", day: datetime) -> str:
    runs = f"usage_runs_{day:%Y%m%d}"
    connection.execute(f"CREATE TABLE {runs} (LIKE usage_runs INCLUDING STORAGE)")
    return runs


def _attach(connection: "psycopg.Connection[Any]", runs: str, day: datetime) -> None:
    bounds = f"FROM ('{day.isoformat()}') TO ('{(day + _DAY).isoformat()}')"
    connection.execute(f"ALTER TABLE usage_runs ATTACH PARTITION {runs} FOR VALUES {bounds}")
    connection.execute(f"CREATE TABLE usage_minute_{day:%Y%m%d} PARTITION OF usage_minute FOR VALUES {bounds}")


def _repeated_sums() -> tuple[str, ...]:
    """Those of the day before once more, as its requests are."""
    return tuple(_REPEATED_SUMS.format(table=f"usage_{unit}") for unit in ("minute", "hour", "day"))


def sums() -> tuple[str, ...]:
    """Statements that make a day's minutes out of its requests, and hours and days out of the minutes."""
    bounds = (-1, *LATENCY_BOUNDS_NS, 2**62)
    counted = ", ".join(
        f"count(*) FILTER (WHERE latency_ns > {low} AND latency_ns <= {high})"
        for low, high in itertools.pairwise(bounds)
    )
    added = ", ".join(f"sum(latency_buckets[{number}])" for number in range(1, len(bounds)))
    minute = _SUMS.format(
        target="usage_minute", start="date_trunc('minute', time)", source="usage_log", time="second",
        requests="count(*)", lookups="sum(assets)", latency="sum(latency_ns)", buckets=counted,
    )  # fmt: skip
    wider = tuple(
        _SUMS.format(
            target=f"usage_{unit}", start=f"date_trunc('{unit}', start)", source="usage_minute", time="start",
            requests="sum(requests)", lookups="sum(lookups)", latency="sum(latency_sum_ns)", buckets=added,
        )
        for unit in ("hour", "day")
    )  # fmt: skip
    return (minute, *wider)
