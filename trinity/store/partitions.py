"""Daily partitions of the big tables, made ahead and dropped when over age; old rows of the small tables.

Rules: days and months are UTC. A partition is made for any day that a record has, be it years away, so that no clock
makes a load fail. Nodes do this one after the other. The connection must not be inside a transaction.

A clock that is ahead must not cost the ledger:

    one of the two is ahead    over age is what is so by the node's clock and the database's; nothing goes while they
                               are more than an hour apart
    both are (one machine)     a day after the other is given up, oldest first, one in 12 hours of the database's clock
                               over all nodes, restarts and connections: what a wrong clock costs a week is a fortnight

The last day that was given up stands in the database. What is left of it or older (a reader was in the way, a node
whose clock is behind) goes at the next call. The small tables reckon from the oldest partition, so a wrong clock costs
them no more: hours go with it, candles and the sums by day, which bills are made of, after a time of their own.
"""

import datetime
import logging
from collections.abc import Collection, Iterable
from typing import NamedTuple

import psycopg
from psycopg import sql

from trinity.clock import NS_PER_SECOND, Clock
from trinity.store import queries
from trinity.store.connect import AnyConnection

# Of prices, as charts ask for them.
CANDLE_DAYS = 93
# What is kept as long as its like, by where the database says which day of them was given up last.
_FAMILIES = {
    "last_day_given_up": ("usage_runs", "usage_minute", "refusal_minute", "report_usage_log"),
    "last_day_of_deliveries_given_up": ("push_deliveries",),
}
TABLES = tuple(table for tables in _FAMILIES.values() for table in tables)

_DAYS_BACK, _DAYS_AHEAD = 1, 3
_DAY = datetime.timedelta(days=1)
# Servers with NTP are milliseconds apart; a wrong time zone or a dead battery is found at once.
_CLOCKS_APART_MAX = datetime.timedelta(hours=1)
# Two days a day: one for the day that passes, one to catch up after a node was off.
_GIVE_UP_GAP = datetime.timedelta(hours=12)
# Days dropped in one transaction, beside the one that is given up: each takes four tables and their indexes.
_DAYS_MAX = 3
# Rows of a small table a transaction: a second's work; price_minute grows by 1,800 rows an hour and 30 assets.
_ROWS_MAX = 50_000
_ROWS_OF_ASSET_MAX = 5_000
# A call may delete for so long, and the ledger waits: half a million sums an hour, and more keys than that ask in none.
_DELETE_NS_MAX = 5 * NS_PER_SECOND
# The same number on every node; known to nobody else.
_LOCK_KEY = 0x1F1A5D33


class Retention(NamedTuple):
    """How long what is kept."""

    detail_days: int  # single requests, addresses, sums by minute and hour
    sums_months: int  # sums by day; never shorter than the detail
    delivery_days: int = 14  # deliveries of the push server


class Retired(NamedTuple):
    """What a call did."""

    dropped: tuple[str, ...]
    rows_deleted: int


def make_ahead(connection: AnyConnection, now: datetime.datetime) -> tuple[str, ...]:
    """Make the partitions around `now`; the names of those that were missing."""
    today = now.astimezone(datetime.UTC).date()
    return ensure_days(connection, [today + number * _DAY for number in range(-_DAYS_BACK, _DAYS_AHEAD + 1)])


def retire(connection: AnyConnection, clock: Clock, log: logging.Logger, retention: Retention) -> Retired:
    """Give up the oldest day that is over age, if one may go by now, and delete the small tables' rows by it."""
    row = connection.execute(queries.load("partitions.now")).fetchone()
    assert row is not None
    node, database = datetime.datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, datetime.UTC), row[0]
    if abs(node - database) > _CLOCKS_APART_MAX:
        fields = {"node": node.isoformat(), "database": database.isoformat()}
        log.error("the clocks of node and database differ: nothing old is removed", extra={"fields": fields})
        return Retired((), 0)
    today = min(node, database).astimezone(datetime.UTC).date()
    first_kept, first_delivery = today - retention.detail_days * _DAY, today - retention.delivery_days * _DAY
    usage, deliveries = _FAMILIES
    of_deliveries, _ = _drop_unless_read(connection, deliveries, first_delivery)
    dropped, oldest_left = _drop_unless_read(connection, usage, first_kept)
    if oldest_left is None:
        return Retired(of_deliveries, 0)
    rows = _delete_old(connection, min(oldest_left, first_kept), clock, retention)
    return Retired((*of_deliveries, *dropped), rows)


def first_day_of_sums(today: datetime.date, months: int) -> datetime.date:
    """The first day of so many whole months before this one."""
    number = today.year * 12 + today.month - 1 - months
    return datetime.date(max(1, number // 12), number % 12 + 1, 1)


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


def _drop_unless_read(
    connection: AnyConnection, family: str, first_kept: datetime.date
) -> tuple[tuple[str, ...], datetime.date | None]:
    """As `_drop_over_age`; nothing, and no day, while somebody reads them: the next call tries again."""
    try:
        with connection.transaction():
            return _drop_over_age(connection, family, first_kept)
    except psycopg.errors.LockNotAvailable:
        return (), None


def _drop_over_age(
    connection: AnyConnection, family: str, first_kept: datetime.date
) -> tuple[tuple[str, ...], datetime.date]:
    """Drop what is given up, a whole day or nothing of it; the partitions' names, and the oldest day that is left."""
    tables = list(_FAMILIES[family])
    connection.execute(queries.load("partitions.lock"), [_LOCK_KEY])
    connection.execute(queries.load("partitions.wait_shortly"))
    names = [row[0] for row in connection.execute(queries.load("partitions.existing"), [tables]).fetchall()]
    row = connection.execute(queries.load("partitions.given_up"), [_GIVE_UP_GAP, family]).fetchone()
    given_up, may_go_on = row or (datetime.date.min, True)
    days = sorted({_day_of(name) for name in names})
    candidates = [day for day in days if given_up < day < first_kept]
    if candidates and may_go_on:
        given_up = candidates[0]
        connection.execute(queries.load("partitions.give_up"), [family, given_up])
    gone = [day for day in days if day <= given_up and day < first_kept][:_DAYS_MAX]
    dropped = tuple(name for name in names if _day_of(name) in gone)
    for name in dropped:
        connection.execute(sql.SQL(queries.load("partitions.drop")).format(partition=sql.Identifier(name)))
    return dropped, min((day for day in days if day not in gone), default=first_kept)


def _day_of(partition: str) -> datetime.date:
    return datetime.datetime.strptime(partition[-8:], "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone


def _delete_old(connection: AnyConnection, oldest: datetime.date, clock: Clock, retention: Retention) -> int:
    """Delete in turns, so that no table waits for another one's backlog; what is left goes at the next call."""
    today = oldest + retention.detail_days * _DAY
    of_days = min(oldest, first_day_of_sums(today, retention.sums_months))
    first_kept = {
        "hours": oldest, "days": of_days, "hours_of_all": oldest, "days_of_all": of_days, "audit": oldest,
        "candles": today - CANDLE_DAYS * _DAY,
    }  # fmt: skip
    until_ns = clock.monotonic_ns() + _DELETE_NS_MAX
    limits = dict.fromkeys(("hours", "days", "hours_of_all", "days_of_all", "audit"), _ROWS_MAX) | {
        "candles": _ROWS_OF_ASSET_MAX
    }
    deleted = 0
    while limits:
        for rows, limit in tuple(limits.items()):
            start = datetime.datetime.combine(first_kept[rows], datetime.time(), datetime.UTC)
            with connection.transaction():
                gone = connection.execute(queries.load(f"partitions.delete_old_{rows}"), [start, limit]).rowcount
            deleted += gone
            if gone < limit:
                del limits[rows]
        if clock.monotonic_ns() >= until_ns:
            break
    return deleted
