"""Daily partitions on a real PostgreSQL: made for any day, dropped slowly, by several nodes at once."""

import datetime
import logging
import threading
from collections.abc import Iterator

import pytest

from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.store import partitions
from trinity.store.connect import AnyConnection, connect
from trinity.store.partitions import (
    CANDLE_DAYS,
    TABLES,
    Retention,
    ensure_days,
    first_day_of_sums,
    make_ahead,
    partition_name,
    retire,
)

# The real time: the database's clock counts as well.
NOW = datetime.datetime.fromtimestamp(SystemClock().wall_ns() / NS_PER_SECOND, datetime.UTC)
DAY = datetime.timedelta(days=1)
LOG = logging.getLogger("tests.partitions")
DAYS_KEPT = 93
KEPT = Retention(DAYS_KEPT, sums_months=36, delivery_days=DAYS_KEPT)
ADD_ROW = """
    INSERT INTO usage_runs (second, base_id, key_id, node_id, rows, protocol, status, code, weight, words)
    VALUES (%s, 0, 0, 1, 1, 0, 200, 0, 1, '{0,0,0,1}')
"""


class NodeClock:
    """A node's clock that says `wall`; of its other clock some seconds pass at each look."""

    def __init__(self, wall: datetime.datetime = NOW, step_seconds: int = 0) -> None:
        self._wall, self._step_ns, self._now_ns = wall, step_seconds * NS_PER_SECOND, 0

    def monotonic_ns(self) -> int:
        self._now_ns += self._step_ns
        return self._now_ns

    def wall_ns(self) -> int:
        return int(self._wall.timestamp() * NS_PER_SECOND)


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    with connect(database_url, "tests", autocommit=True) as made:
        yield made


def _partitions(connection: AnyConnection, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", [table]
    ).fetchall()
    return [row[0] for row in rows]


def test_yesterday_to_three_days_ahead_are_made_once(connection: AnyConnection) -> None:
    """Five days of each table, with the indexes of their tables; a second call has nothing to do."""
    made = make_ahead(connection, NOW)
    expected = [partition_name("usage_runs", (NOW + number * DAY).date()) for number in range(-1, 4)]
    assert _partitions(connection, "usage_runs") == expected
    assert len(made) == 5 * len(TABLES)
    assert make_ahead(connection, NOW) == ()
    query = "SELECT count(*) FROM pg_indexes WHERE tablename = %s"
    of_partition, of_table = (connection.execute(query, [name]).fetchone() for name in (expected[0], "usage_runs"))
    assert of_partition == of_table != (0,)
    index = connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'usage_runs_second'::regclass")
    assert index.fetchone() == (True,)


@pytest.mark.parametrize("day", [datetime.date.min, datetime.date(1970, 1, 1), datetime.date(2262, 4, 11)], ids=str)
def test_any_day_gets_its_partition(connection: AnyConnection, day: datetime.date) -> None:
    """A clock that is decades off does not make a load fail; its first and last microsecond are that day's."""
    ensure_days(connection, [day])
    for time in (datetime.time.min, datetime.time.max):
        connection.execute(ADD_ROW, [datetime.datetime.combine(day, time, datetime.UTC)])
    rows = connection.execute("SELECT tableoid::regclass::text FROM usage_runs").fetchall()
    assert rows == [(partition_name("usage_runs", day),)] * 2


def _let_pass(connection: AnyConnection, hours: int) -> None:
    """What was noted of the last day that was given up becomes so much older."""
    connection.execute(
        "UPDATE application_parameters SET changed_at = changed_at - make_interval(hours => %s)", [hours]
    )


def _add_sums(connection: AnyConnection, *times: datetime.datetime) -> None:
    for time in times:
        connection.execute("INSERT INTO usage_hour VALUES (%s, 0, 0, 0, 200, 1, 1, 1, 1, '{}')", [time])


def test_a_day_is_given_up_each_twelve_hours_oldest_first(connection: AnyConnection) -> None:
    """However often one asks and from however many connections; the last day that is kept stays."""
    days = [NOW.date() - number * DAY for number in range(DAYS_KEPT, DAYS_KEPT + 3)]
    ensure_days(connection, days)
    for day in (days[2], days[1]):
        expected = {partition_name(table, day) for table in TABLES}
        assert set(retire(connection, NodeClock(), LOG, KEPT).dropped) == expected
        _let_pass(connection, hours=11)
        assert retire(connection, NodeClock(), LOG, KEPT).dropped == ()
        _let_pass(connection, hours=1)
    assert retire(connection, NodeClock(), LOG, KEPT).dropped == ()
    assert partition_name("usage_runs", days[0]) in _partitions(connection, "usage_runs")


def test_both_clocks_half_a_year_ahead_cost_a_day_and_its_sums(connection: AnyConnection) -> None:
    """All that is there looks over age then: the rest stays, sums and candles too, until the clock is set right."""
    days = [NOW - number * DAY for number in (182, 181, 180)]
    ensure_days(connection, [day.date() for day in days])
    _add_sums(connection, *days)
    connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
    connection.execute("INSERT INTO price_minute VALUES (1, %s, 1, 1, 1, 1, 6, 0, 1, 1, 1, 1)", [days[1]])
    for _ in range(5):
        retire(connection, NodeClock(), LOG, KEPT)
    assert _partitions(connection, "usage_runs") == [partition_name("usage_runs", day.date()) for day in days[1:]]
    assert connection.execute("SELECT count(*) FROM usage_hour").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM price_minute").fetchone() == (1,)


def test_what_comes_in_for_a_day_that_is_given_up_delays_no_other(connection: AnyConnection) -> None:
    """A node whose clock is years behind makes its days again and again: they go at once, the others in their turn."""
    old = [datetime.date(1970, 1, 1), NOW.date() - 2 * DAYS_KEPT * DAY]
    for _ in range(2):
        ensure_days(connection, old)
        retire(connection, NodeClock(), LOG, KEPT)
        _let_pass(connection, hours=12)
    assert _partitions(connection, "usage_runs") == []


def test_a_time_of_the_future_is_no_reason_to_keep_everything_for_ever(connection: AnyConnection) -> None:
    """A clock that was ahead when a day was given up is right again."""
    days = [NOW.date() - number * DAY for number in (182, 181)]
    ensure_days(connection, days)
    retire(connection, NodeClock(), LOG, KEPT)
    _let_pass(connection, hours=-9_000)
    assert len(retire(connection, NodeClock(), LOG, KEPT).dropped) == len(TABLES)


@pytest.mark.parametrize("hours", [-2, 2, 9_600])
def test_nothing_goes_while_the_clocks_differ(
    connection: AnyConnection, caplog: pytest.LogCaptureFixture, hours: int
) -> None:
    """Whichever of the two is wrong: neither partitions nor sums; the log says so."""
    ensure_days(connection, [NOW.date() - 182 * DAY])
    _add_sums(connection, NOW - 182 * DAY)
    assert retire(connection, NodeClock(NOW + datetime.timedelta(hours=hours)), LOG, KEPT) == ((), 0)
    assert "nothing old is removed" in caplog.text


def test_a_clock_set_back_drops_nothing(connection: AnyConnection) -> None:
    """All that is there is of the future then."""
    make_ahead(connection, NOW)
    make_ahead(connection, NOW - 400 * DAY)
    assert retire(connection, NodeClock(NOW - 400 * DAY), LOG, KEPT).dropped == ()
    assert len(_partitions(connection, "usage_runs")) == 10


def test_a_partition_that_is_read_stays_until_the_next_call(connection: AnyConnection, database_url: str) -> None:
    """The drop gives up within a second, its whole day with it; loads go on meanwhile."""
    old = NOW.date() - (DAYS_KEPT + 1) * DAY
    ensure_days(connection, [old, NOW.date()])
    _add_sums(connection, NOW - (DAYS_KEPT + 1) * DAY)
    with connect(database_url, "reader") as reader:
        reader.execute("SELECT count(*) FROM usage_minute").fetchone()
        assert retire(connection, NodeClock(), LOG, KEPT) == ((partition_name("push_deliveries", old),), 0)
        assert ensure_days(connection, [NOW.date() + 10 * DAY]), "a reader holds up no new partition"
        connection.execute(ADD_ROW, [NOW])
    dropped = tuple(partition_name(table, old) for table in sorted(TABLES) if table != "push_deliveries")
    assert retire(connection, NodeClock(), LOG, KEPT) == (dropped, 2)


def test_old_rows_of_the_small_tables_go(connection: AnyConnection) -> None:
    """Hours with the detail, candles after 93 days whatever it has, days after years; what is young enough stays."""
    retention = Retention(30, sums_months=36)
    of_days = datetime.datetime.combine(first_day_of_sums(NOW.date(), 36), datetime.time(), datetime.UTC)
    borders = {"usage_hour": NOW - 30 * DAY, "price_minute": NOW - CANDLE_DAYS * DAY, "usage_day": of_days}
    connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
    for days in (-2, 2):
        for table in ("usage_hour", "usage_day"):
            time = borders[table] + days * DAY
            connection.execute(f"INSERT INTO {table} VALUES (%s, 0, 0, 0, 200, 1, 1, 1, 1, '{{}}')", [time])
        time = borders["price_minute"] + days * DAY
        connection.execute("INSERT INTO price_minute VALUES (1, %s, 1, 1, 1, 1, 6, 0, 1, 1, 1, 1)", [time])
    assert retire(connection, NodeClock(), LOG, retention).rows_deleted == 5
    for table, border in borders.items():
        column = "minute" if table == "price_minute" else "start"
        for each in {table, table if table == "price_minute" else f"{table}_all"}:
            assert connection.execute(f"SELECT {column} FROM {each}").fetchall() == [(border + 2 * DAY,)]


@pytest.mark.parametrize(
    ("today", "months", "expected"),
    [("2026-11-29", 36, "2023-11-01"), ("2026-01-31", 1, "2025-12-01"), ("2026-12-01", 12, "2025-12-01")],
)
def test_whole_months_of_sums_are_kept(today: str, months: int, expected: str) -> None:
    """So many before the running one, from the first day of the first."""
    assert first_day_of_sums(datetime.date.fromisoformat(today), months) == datetime.date.fromisoformat(expected)


@pytest.mark.parametrize(("step_seconds", "deleted"), [(0, 215 + 1), (3, 2 * 10 + 1)])
def test_more_old_rows_than_one_transaction_takes_go_in_one_call(
    connection: AnyConnection, monkeypatch: pytest.MonkeyPatch, step_seconds: int, deleted: int
) -> None:
    """Many keys bring more sums an hour than one transaction deletes; after five seconds the ledger has its turn."""
    monkeypatch.setattr(partitions, "_ROWS_MAX", 10)
    old = NOW - (DAYS_KEPT + 2) * DAY
    insert = "INSERT INTO usage_hour SELECT %s, key, 0, 0, 200, 1, 1, 1, 1, '{}' FROM generate_series(1, %s) AS key"
    connection.execute(insert, [old, 215])
    found = retire(connection, NodeClock(step_seconds=step_seconds), LOG, KEPT).rows_deleted
    assert found == deleted, "and the sum over all keys"
    assert retire(connection, NodeClock(), LOG, KEPT).rows_deleted == 216 - deleted


def test_nodes_that_do_it_at_once_do_not_collide(database_url: str) -> None:
    """Four of them: each partition is made by one, dropped by one, and none of them fails."""
    with connect(database_url, "tests", autocommit=True) as connection:
        ensure_days(connection, [NOW.date() - (DAYS_KEPT + number) * DAY for number in (1, 2, 3)])
    made: list[str] = []
    dropped: list[str] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        with connect(database_url, "node", autocommit=True) as own:
            barrier.wait()
            made.extend(make_ahead(own, NOW))
            dropped.extend(retire(own, NodeClock(), LOG, KEPT).dropped)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(set(made)) == 5 * len(TABLES)
    assert len(dropped) == len(set(dropped)) == len(TABLES)


def test_deliveries_go_after_their_own_days_and_usage_stays(connection: AnyConnection) -> None:
    """A day of deliveries a call, as usage: what one of the two has given up says nothing of the other."""
    retention = Retention(DAYS_KEPT, sums_months=36, delivery_days=14)
    ensure_days(connection, [(NOW - days * DAY).date() for days in (16, 15, 14)])
    oldest, over_age, kept = (partition_name("push_deliveries", (NOW - days * DAY).date()) for days in (16, 15, 14))
    assert retire(connection, NodeClock(), LOG, retention).dropped == (oldest,)
    assert retire(connection, NodeClock(), LOG, retention).dropped == (), "one in twelve hours"
    connection.execute("UPDATE application_parameters SET changed_at = changed_at - interval '13 hours'")
    assert retire(connection, NodeClock(), LOG, retention).dropped == (over_age,)
    assert _partitions(connection, "push_deliveries") == [kept]
    assert len(_partitions(connection, "usage_runs")) == 3
