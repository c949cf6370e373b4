"""Daily partitions on a real PostgreSQL: made for any day, dropped slowly, by several nodes at once."""

import datetime
import threading
from collections.abc import Iterator

import pytest

from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.store import partitions
from trinity.store.connect import AnyConnection, connect
from trinity.store.partitions import DAYS_KEPT, TABLES, ensure_days, make_ahead, partition_name, retire

# The real time: the database's clock counts as well.
NOW = datetime.datetime.fromtimestamp(SystemClock().wall_ns() / NS_PER_SECOND, datetime.UTC)
DAY = datetime.timedelta(days=1)
ADD_ROW = """
    INSERT INTO usage_log (time, request_id, address, key_id, latency_ns, node_id, asset_id, assets, status, protocol,
                           source, code)
    VALUES (%s, 1, '::1', 0, 0, 1, 0, 0, 200, 0, 0, 0)
"""


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
    expected = [partition_name("usage_log", (NOW + number * DAY).date()) for number in range(-1, 4)]
    assert _partitions(connection, "usage_log") == expected
    assert len(made) == 5 * len(TABLES)
    assert make_ahead(connection, NOW) == ()
    query = "SELECT count(*) FROM pg_indexes WHERE tablename = %s"
    of_partition, of_table = (connection.execute(query, [name]).fetchone() for name in (expected[0], "usage_log"))
    assert of_partition == of_table != (0,)
    index = connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'usage_log_time'::regclass")
    assert index.fetchone() == (True,)


@pytest.mark.parametrize("day", [datetime.date.min, datetime.date(1970, 1, 1), datetime.date(2262, 4, 11)], ids=str)
def test_any_day_gets_its_partition(connection: AnyConnection, day: datetime.date) -> None:
    """A clock that is decades off does not make a load fail; its first and last microsecond are that day's."""
    ensure_days(connection, [day])
    for time in (datetime.time.min, datetime.time.max):
        connection.execute(ADD_ROW, [datetime.datetime.combine(day, time, datetime.UTC)])
    rows = connection.execute("SELECT tableoid::regclass::text FROM usage_log").fetchall()
    assert rows == [(partition_name("usage_log", day),)] * 2


def test_over_age_goes_a_day_a_call_oldest_first(connection: AnyConnection) -> None:
    """The last day that is kept stays."""
    days = [NOW.date() - number * DAY for number in range(DAYS_KEPT, DAYS_KEPT + 3)]
    ensure_days(connection, days)
    for day in (days[2], days[1]):
        assert retire(connection, NOW).dropped == tuple(partition_name(table, day) for table in TABLES)
    assert retire(connection, NOW).dropped == ()
    assert partition_name("usage_log", days[0]) in _partitions(connection, "usage_log")


def test_a_node_s_clock_that_is_ahead_drops_nothing_that_the_database_s_would_keep(connection: AnyConnection) -> None:
    """One node with a wrong clock does not empty the ledger of all; nor does it delete sums."""
    make_ahead(connection, NOW)
    connection.execute("INSERT INTO usage_hour VALUES (%s, 0, 0, 0, 200, 1, 1, 1, 1, '{}')", [NOW])
    assert retire(connection, NOW + 400 * DAY) == ((), 0)


def test_a_clock_set_back_drops_nothing(connection: AnyConnection) -> None:
    """All that is there is of the future then."""
    make_ahead(connection, NOW)
    make_ahead(connection, NOW - 400 * DAY)
    assert retire(connection, NOW - 400 * DAY).dropped == ()
    assert len(_partitions(connection, "usage_log")) == 10


def test_a_partition_that_is_read_stays_until_the_next_call(connection: AnyConnection, database_url: str) -> None:
    """The drop gives up after a second; loads go on meanwhile."""
    old = NOW.date() - (DAYS_KEPT + 1) * DAY
    ensure_days(connection, [old, NOW.date()])
    with connect(database_url, "reader") as reader:
        reader.execute("SELECT count(*) FROM usage_log").fetchone()
        assert partition_name("usage_log", old) not in retire(connection, NOW).dropped
        assert ensure_days(connection, [NOW.date() + 10 * DAY]), "a reader holds up no new partition"
        connection.execute(ADD_ROW, [NOW])
    assert partition_name("usage_log", old) in retire(connection, NOW).dropped


def test_old_rows_of_the_small_tables_go(connection: AnyConnection) -> None:
    """Hours, days and candles; what is young enough stays."""
    old, young = NOW - (DAYS_KEPT + 2) * DAY, NOW - (DAYS_KEPT - 2) * DAY
    connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
    for time in (old, young):
        for table in ("usage_hour", "usage_day"):
            connection.execute(f"INSERT INTO {table} VALUES (%s, 0, 0, 0, 200, 1, 1, 1, 1, '{{}}')", [time])
        connection.execute("INSERT INTO price_minute VALUES (1, %s, 1, 1, 1, 1, 6, 0, 1, 1, 1, 1)", [time])
    assert retire(connection, NOW).rows_deleted == 5
    sums = [(table, "start") for table in ("usage_hour", "usage_day", "usage_hour_all", "usage_day_all")]
    for table, column in (*sums, ("price_minute", "minute")):
        assert connection.execute(f"SELECT {column} FROM {table}").fetchall() == [(young,)]


def test_more_old_rows_than_one_transaction_takes_go_in_one_call(
    connection: AnyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many keys bring more sums an hour than one transaction deletes; the number of transactions is bounded."""
    monkeypatch.setattr(partitions, "_ROWS_MAX", 10)
    old = NOW - (DAYS_KEPT + 2) * DAY
    insert = "INSERT INTO usage_hour SELECT %s, key, 0, 0, 200, 1, 1, 1, 1, '{}' FROM generate_series(1, %s) AS key"
    connection.execute(insert, [old, 215])
    assert retire(connection, NOW).rows_deleted == 10 * partitions._ROUNDS_MAX + 1, "and the sum over all keys"
    assert retire(connection, NOW).rows_deleted == 15


def test_nodes_that_do_it_at_once_do_not_collide(database_url: str) -> None:
    """Four of them: each partition is made by one, dropped by one, and none of them fails."""
    with connect(database_url, "tests", autocommit=True) as connection:
        ensure_days(connection, [NOW.date() - (DAYS_KEPT + 1) * DAY])
    made: list[str] = []
    dropped: list[str] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        with connect(database_url, "node", autocommit=True) as own:
            barrier.wait()
            made.extend(make_ahead(own, NOW))
            dropped.extend(retire(own, NOW).dropped)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(set(made)) == 5 * len(TABLES)
    assert len(dropped) == len(set(dropped)) == len(TABLES)
