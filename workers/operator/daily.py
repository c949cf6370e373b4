"""The day's figures (the specification's daily dashboard blob): kept in the database, and published.

    daily_figures(day, figures)   one row a UTC day, kept; today's is computed anew each minute, yesterday's once more
                                  after its end
    kcc:daily in Valkey           the newest, for 24 hours, when there is a cache

Rules: the operator's lock makes it one job in the whole cluster. Protocols stand in words, not numbers. Valkey unset,
slow or unreachable is no failure: the client counts it.
"""

import contextlib
import datetime
from collections.abc import Callable
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import DAILY, DAY_SECONDS
from trinity.errors import CacheUnavailableError
from trinity.store import queries
from trinity.store.connect import AnyConnection
from trinity.vocabulary import PROTOCOLS

# Nobody waits for it, so it may be slow; beyond this it is away.
_VALKEY_SECONDS = 1.0

Publish = Callable[[bytes], None]


def keep_figures(connection: AnyConnection, now: datetime.datetime, publish: Publish) -> dict[str, Any]:
    """Compute, keep and publish the figures of every day that is open; today's."""
    figures = compute(connection, now)
    publish(msgspec.json.encode(figures))
    return figures


def compute(connection: AnyConnection, now: datetime.datetime) -> dict[str, Any]:
    """Compute and keep the figures of every day that is open; today's."""
    with connection.transaction():
        days = connection.execute(queries.load("dashboard.open_days"), {"today": now.date()}).fetchall()
        figures: dict[str, Any] = {}
        for (day,) in days:
            row = connection.execute(queries.load("dashboard.figures"), {"day": day}).fetchone()
            assert row is not None, "an aggregate always has a row"
            figures = {"day": day.isoformat(), **_in_words(row[0])}
            kept = {"day": day, "figures": Jsonb(figures), "now": now}
            connection.execute(queries.load("dashboard.keep_figures"), kept)
        return figures


def publisher(client: SyncCacheClient | None) -> Publish:
    """Writes to Valkey, where there is one."""

    def publish(value: bytes) -> None:
        if client is not None:
            with contextlib.suppress(CacheUnavailableError):
                client.set(DAILY.name(), value, DAY_SECONDS, _VALKEY_SECONDS)

    return publish


def _in_words(found: dict[str, Any]) -> dict[str, Any]:
    by_protocol = {PROTOCOLS[int(number)]: requests for number, requests in found["by_protocol"].items()}
    return {**found, "by_protocol": by_protocol}
