"""Whether a restored database has what the live one had at the moment restored to: to the transaction, not about.

The two are the same cluster, so they number transactions alike. What an older transaction than the restored server's
next one wrote must be in both; what a later one wrote is in the live database alone. So nothing is compared "up to a
few minutes ago": a row of the live database is *known* or it is not (queries/drill.sql).

    written once        single requests, deliveries, calls: known rows and their sums are equal, bucket by bucket
    changed afterwards  sums by minute, hour, day, customers: where nothing was changed since, rows and sums are equal;
                        elsewhere the restored database has at least the known rows

Rules: both sides are only read, each in one snapshot. The live one keeps its oldest days while it is read, and what its
retention has dropped already is not asked for. A database of another cluster is no copy: RefusedError.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, NamedTuple

from psycopg import sql

from trinity.errors import RefusedError
from trinity.store import queries
from trinity.store.connect import AnyConnection
from trinity.store.partitions import CANDLE_DAYS

# Differences that are kept word by word; the others are counted.
DIFFERENCES_SHOWN = 20
# Rows of a cursor that are fetched at once: a minute's sums each.
_FETCH_ROWS = 5_000

BucketKey = datetime | int


class ComparedTable(NamedTuple):
    """What is compared of a table: by which buckets, which sums, and from which day on it is kept."""

    name: str
    bucket: str
    sums: tuple[str, ...]
    is_written_once: bool
    since: Literal["usage_minute", "usage_day", "push_deliveries", "report_usage_log", "candles", "always"]


_COUNTED = ("sum(requests)", "sum(lookups)", "sum(latency_sum_ns)")
# All that a row has; equal texts have equal hashes.
_CONTENT = ("sum(hashtextextended(judged::text, 0))",)
# Customers and keys come and go in thousands: a bucket of so many by their number.
_BY_THOUSAND = "id / 1000"


def _by_minute(column: str) -> str:
    return f"date_trunc('minute', {column})"


TABLES = (
    ComparedTable("usage_runs", _by_minute("second"), ("sum(rows)", "sum(cardinality(words))"), True, "usage_minute"),
    ComparedTable("usage_minute", "start", _COUNTED, False, "usage_minute"),
    ComparedTable("refusal_minute", "start", ("sum(requests)",), False, "usage_minute"),
    ComparedTable("usage_hour", "start", _COUNTED, False, "usage_minute"),
    ComparedTable("usage_hour_all", "start", _COUNTED, False, "usage_minute"),
    ComparedTable("usage_day", "start", _COUNTED, False, "usage_day"),
    ComparedTable("usage_day_all", "start", _COUNTED, False, "usage_day"),
    ComparedTable("report_usage_log", _by_minute("time"), ("sum(bytes)", "sum(weight)"), True, "report_usage_log"),
    ComparedTable("push_deliveries", _by_minute("time"), ("sum(attempts)", "sum(assets)"), True, "push_deliveries"),
    ComparedTable("price_minute", "minute", ("sum(samples)", "sum(weighted_ms)"), False, "candles"),
    ComparedTable("accounts", _BY_THOUSAND, _CONTENT, False, "always"),
    ComparedTable("plans", _BY_THOUSAND, _CONTENT, False, "always"),
    ComparedTable("api_keys", _BY_THOUSAND, _CONTENT, False, "always"),
    ComparedTable("push_subscriptions", _BY_THOUSAND, _CONTENT, False, "always"),
)


class SumsBucket(NamedTuple):
    """A minute, hour, day or thousand of a table: known rows, their sums, and rows that were written since."""

    key: BucketKey
    rows: int
    sums: tuple[int, ...]
    unknown: int = 0


class Discrepancy(NamedTuple):
    """Where the two do not agree."""

    table: str
    bucket: str
    what: str
    live: int
    restored: int

    def __str__(self) -> str:
        return f"{self.table} {self.bucket}: {self.what}: {self.live} live, {self.restored} restored"


class ComparisonResult(NamedTuple):
    """What came of it; `requests` are those of the single requests that both have."""

    requests: int
    rows: int
    buckets: int
    differences: int
    shown: tuple[Discrepancy, ...]


class KnownTransactions(NamedTuple):
    """Which transactions a restored server knows: those before `next`, but for those that were not committed."""

    next: str
    unfinished: list[str]


class _Tally:
    """Counts what is compared."""

    def __init__(self) -> None:
        self.requests = self.rows = self.buckets = self.differences = 0
        self.shown: list[Discrepancy] = []

    def result(self) -> ComparisonResult:
        return ComparisonResult(self.requests, self.rows, self.buckets, self.differences, tuple(self.shown))


def known_to(restored: AnyConnection) -> KnownTransactions:
    """Ask this first of all: whatever the restored server writes itself moves its next transaction on."""
    following = _value(restored, "drill.next_transaction")
    unfinished = _value(restored, "drill.unfinished", {"next": following})
    restored.rollback()
    # As columns of a row bear them: the lower half, as text; psycopg has no type for it.
    return KnownTransactions(_short(following), [_short(number) for number in unfinished])


def compare(live: AnyConnection, restored: AnyConnection, known: KnownTransactions, today: date) -> ComparisonResult:
    """Read both whole; connections of their own, in no transaction. RefusedError when one is no copy of the other."""
    for connection in (live, restored):
        connection.execute(queries.load("drill.begin"))
        connection.commit()
    ours, theirs = (_value(connection, "drill.identity") for connection in (live, restored))
    if ours != theirs:
        raise RefusedError("comparison", f"the backup is of the database {theirs}, the live one is {ours}")
    tally = _Tally()
    tables = _tables_of_both(live, restored)
    _lock(live, tables)
    for table in tables:
        condition = _condition(live, table, today)
        pair = side_by_side(_buckets(live, table, known, condition), _buckets(restored, table, None, condition))
        for one, other in pair:
            _compare_bucket(table, one, other, tally)
    live.rollback()
    restored.rollback()
    return tally.result()


def side_by_side(one: Iterable[SumsBucket], other: Iterable[SumsBucket]) -> Iterator[tuple[SumsBucket, SumsBucket]]:
    """Both in the order of their keys, bucket beside bucket; what one lacks is empty."""
    left, right = iter(one), iter(other)
    mine, yours = next(left, None), next(right, None)
    while mine is not None or yours is not None:
        if yours is None or (mine is not None and mine.key < yours.key):  # type: ignore[operator]
            assert mine is not None
            yield mine, _empty(mine)
            mine = next(left, None)
        elif mine is None or yours.key < mine.key:  # type: ignore[operator]
            yield _empty(yours), yours
            yours = next(right, None)
        else:
            yield mine, yours
            mine, yours = next(left, None), next(right, None)


def differences_of(table: ComparedTable, live: SumsBucket, restored: SumsBucket) -> Iterator[Discrepancy]:
    """What is wrong with a bucket of the restored database."""
    bucket = live.key.isoformat() if isinstance(live.key, datetime) else str(live.key)
    if table.is_written_once or not live.unknown:
        names = ("rows", *table.sums)
        for name, ours, theirs in zip(names, (live.rows, *live.sums), (restored.rows, *restored.sums), strict=True):
            if ours != theirs:
                yield Discrepancy(table.name, bucket, name, ours, theirs)
    elif live.rows > restored.rows:
        yield Discrepancy(table.name, bucket, "rows, at least", live.rows, restored.rows)


def _compare_bucket(table: ComparedTable, live: SumsBucket, restored: SumsBucket, tally: _Tally) -> None:
    tally.buckets += 1
    tally.rows += restored.rows
    if table.name == "usage_runs":
        tally.requests += restored.sums[0]
    for difference in differences_of(table, live, restored):
        tally.differences += 1
        if len(tally.shown) < DIFFERENCES_SHOWN:
            tally.shown.append(difference)


def _empty(like: SumsBucket) -> SumsBucket:
    return SumsBucket(like.key, 0, (0,) * len(like.sums))


def _short(number: str) -> str:
    return str(int(number) & 0xFFFFFFFF)


def _tables_of_both(live: AnyConnection, restored: AnyConnection) -> list[ComparedTable]:
    """After an upgrade, a restored database may be of before: without new tables, and its rows have other columns."""
    ours, theirs = (
        sorted(connection.execute(queries.load("migrate.applied")).fetchall()) for connection in (live, restored)
    )
    if ours == theirs:
        return list(TABLES)
    there = restored.execute(queries.load("drill.tables_there"), [[table.name for table in TABLES]]).fetchall()
    names = {name for (name,) in there}
    return [table for table in TABLES if table.name in names and table.sums != _CONTENT]


def _lock(live: AnyConnection, tables: Iterable[ComparedTable]) -> None:
    for table in tables:
        live.execute(sql.SQL(queries.load("drill.lock")).format(table=sql.Identifier(table.name)))


def _condition(live: AnyConnection, table: ComparedTable, today: date) -> sql.Composable:
    """From which time on the live database has all that it ever had of a table."""
    if table.since == "always":
        return sql.SQL("true")
    day = _oldest_partition(live, table.since if table.since in _PARTITIONED else "usage_minute")
    if table.since == "candles":
        day = max(day, today - timedelta(days=CANDLE_DAYS - 1))
    elif table.since == "usage_day" and (oldest := _value(live, "drill.oldest_sum_by_day")) is not None:
        # The oldest may be half gone: they are deleted some at a time.
        day = min(day, oldest.date() + timedelta(days=1))
    column = {"usage_runs": "second", "report_usage_log": "time", "push_deliveries": "time", "price_minute": "minute"}
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return sql.SQL("{} >= {}").format(sql.Identifier(column.get(table.name, "start")), sql.Literal(start))


_PARTITIONED = ("usage_minute", "push_deliveries", "report_usage_log")


def _oldest_partition(live: AnyConnection, table: str) -> date:
    name = _value(live, "drill.oldest_partition", [table])
    return datetime.strptime(name, "%Y%m%d").date() if name is not None else date.min  # noqa: DTZ007 - a date


def _buckets(
    connection: AnyConnection, table: ComparedTable, known: KnownTransactions | None, condition: sql.Composable
) -> Iterator[SumsBucket]:
    """Without `known`, all that is there is."""
    is_known = sql.SQL("true" if known is None else queries.load("drill.is_known"))
    statement = sql.SQL(queries.load("drill.buckets")).format(
        table=sql.Identifier(table.name),
        bucket=sql.SQL(table.bucket),
        sums=sql.SQL(", ").join(sql.SQL(f"coalesce({text} FILTER (WHERE is_known), 0)") for text in table.sums),
        condition=condition,
        is_known=is_known,
    )
    # On the server's side: a quarter of a year has 134,000 minutes.
    with connection.cursor(f"drill_{table.name}") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(statement, {} if known is None else known._asdict())
        for key, rows, *sums, unknown in cursor:
            yield SumsBucket(key, rows, tuple(map(int, sums)), unknown)


def _value(connection: AnyConnection, name: str, values: Any = None) -> Any:
    row = connection.execute(queries.load(name), values).fetchone()
    assert row is not None
    return row[0]
