"""Stored minutes for tests that read them: one price that stood all through each."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg

_INSERT = """
INSERT INTO price_minute (asset_id, minute, open, high, low, close, sources, confidence, samples, weighted_sum,
                          weighted_ms, node_id)
SELECT assets.id, %(minute)s, %(price)s, %(price)s, %(price)s, %(price)s, 5, 2, 9, 60000 * %(price)s::numeric, 60000, 1
FROM assets WHERE assets.name = %(asset)s
"""


def store_minutes(
    url: str, asset: str, price: str, ages: Iterable[int] = range(300), now: datetime | None = None
) -> None:
    """A minute with this price for each age in minutes."""
    newest = (now or datetime.now(UTC)).replace(second=0, microsecond=0)
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO assets (name) VALUES (%s) ON CONFLICT DO NOTHING", (asset,))
        connection.cursor().executemany(
            _INSERT, [{"minute": newest - timedelta(minutes=age), "price": price, "asset": asset} for age in ages]
        )
