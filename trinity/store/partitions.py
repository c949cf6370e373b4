"""Daily partitions of the big tables, made ahead and dropped when over age; old rows of the small tables.

Rules: days are UTC. A partition is made for any day that a record has, be it years away, so that no clock makes a load
fail. A clock that is ahead must not cost the ledger: over age is what is so by the node's clock and the database's, and
it goes slowly, a day a call. Nodes do this one after the other. The connection must not be inside a transaction.
"""

import datetime
from collections.abc import Collection, Iterable
from typing import NamedTuple

import psycopg
from psycopg import sql

from trinity.store import queries
from trinity.store.connect import AnyConnection

DAYS_KEPT = 93
TABLES = ("usage_log", "usage_minute", "report_usage_log")

_DAYS_BACK, _DAYS_AHEAD = 1, 3
_DAY = datetime.timedelta(days=1)
# A call each hour drops 24 days a day: a node that was off for a month has caught up in a day and a bit.
_DROPS_MAX = 1
# Rows of a small table a transaction: a second's work; price_minute grows by 1,800 rows an hour and 30 assets.
_ROWS_MAX = 50_000
_ROWS_OF_ASSET_MAX = 5_000
# Transactions a call: a million sums of hours, as many as 10,000 keys on 25 assets with four outcomes bring in one.
_ROUNDS_MAX = 20
# The same number on every node; known to nobody else.
_LOCK_KEY = 0x1F1A5D33


class Retired(NamedTuple):
    """What a call did."""

    dropped: tuple[str, ...]
    rows_deleted: int


def make_ahead(connection: AnyConnection, now: datetime.datetime) -> tuple[str, ...]:
    """Make the partitions around `now`; the names of those that were missing."""
    today = now.astimezone(datetime.UTC).date()
    return ensure_days(connection, [today + number * _DAY for number in range(-_DAYS_BACK, _DAYS_AHEAD + 1)])


def retire(connection: AnyConnection, now: datetime.datetime) -> Retired:
    """Drop the oldest partition of each table that is over age, delete rows that are."""
    row = connection.execute(queries.load("partitions.now")).fetchone()
    assert row is not None
    oldest = min(now, row[0]).astimezone(datetime.UTC).date() - DAYS_KEPT * _DAY
    return Retired(_drop_before(connection, oldest), _delete_before(connection, oldest))


def ensure_days(connection: AnyConnection, days: Collection[datetime.date]) -> tuple[str, ...]:
    """Make what is missing of these days' partitions; the names of those that were. One short question otherwise."""
    wanted = {partition_name(table, day): (table, day) for table in TABLES for day in days}
    with connection.transaction():
        if not _missing(connection, wanted):
            return ()
        connection.execute(queries.load("partitions.lock"), [_LOCK_KEY])
        missing = _missing(connection, wanted)  # another node may have made them meanwhile
        for name in missing:
            _make(connection, name, *wanted[name])
        return tuple(missing)


def partition_name(table: str, day: datetime.date) -> str:
    return f"{table}_{day:%Y%m%d}" if day.year > 999 else f"{table}_{day.year:04}{day:%m%d}"


def _missing(connection: AnyConnection, wanted: Iterable[str]) -> list[str]:
    rows = connection.execute(queries.load("partitions.missing"), [list(wanted)]).fetchall()
    return sorted(row[0] for row in rows)


def _make(connection: AnyConnection, name: str, table: str, day: datetime.date) -> None:
    names = {"partition": sql.Identifier(name), "table": sql.Identifier(table)}
    bounds = {"start": sql.Literal(f"{day} 00:00:00+00"), "end": sql.Literal(f"{_day_after(day)} 00:00:00+00")}
    connection.execute(sql.SQL(queries.load("partitions.create")).format(**names))
    connection.execute(sql.SQL(queries.load("partitions.attach")).format(**names, **bounds))


def _day_after(day: datetime.date) -> datetime.date | str:
    return "infinity" if day == datetime.date.max else day + _DAY


def _drop_before(connection: AnyConnection, oldest: datetime.date) -> tuple[str, ...]:
    """Drop the oldest over-age partitions of each table; those that a reader holds stay for the next call."""
    rows = connection.execute(queries.load("partitions.existing"), [list(TABLES)]).fetchall()
    dropped: list[str] = []
    for table in TABLES:
        first_kept = partition_name(table, oldest)
        over_age = [name for parent, name in rows if parent == table and name < first_kept]
        for name in over_age[:_DROPS_MAX]:
            try:
                with connection.transaction():
                    connection.execute(queries.load("partitions.lock"), [_LOCK_KEY])
                    connection.execute(queries.load("partitions.wait_shortly"))
                    connection.execute(sql.SQL(queries.load("partitions.drop")).format(partition=sql.Identifier(name)))
            except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
                continue  # in use, or another node was faster
            dropped.append(name)
    return tuple(dropped)


def _delete_before(connection: AnyConnection, oldest: datetime.date) -> int:
    start = datetime.datetime.combine(oldest, datetime.time(), datetime.UTC)
    sums = ("hours", "days", "hours_of_all", "days_of_all")
    limits = (*((rows, _ROWS_MAX) for rows in sums), ("candles", _ROWS_OF_ASSET_MAX))
    deleted = 0
    for rows, limit in limits:
        for _ in range(_ROUNDS_MAX):
            with connection.transaction():
                gone = connection.execute(queries.load(f"partitions.delete_old_{rows}"), [start, limit]).rowcount
            deleted += gone
            if gone < limit:
                break
    return deleted
