"""Daily partitions on a real PostgreSQL: made for any day, dropped slowly, by several nodes at once."""

import datetime
import threading
from collections.abc import Iterator

import pytest

from trinity.store.connect import AnyConnection, connect
from trinity.store.partitions import DAYS_KEPT, TABLES, ensure_days, maintain, partition_name

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
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
    done = maintain(connection, NOW)
    expected = [partition_name("usage_log", (NOW + number * DAY).date()) for number in range(-1, 4)]
    assert _partitions(connection, "usage_log") == expected
    assert len(done.made) == 5 * len(TABLES)
    assert maintain(connection, NOW) == ((), (), 0)
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


def test_over_age_goes_two_days_a_call_oldest_first(connection: AnyConnection) -> None:
    """A clock that jumped ahead costs little; the last day that is kept stays."""
    days = [NOW.date() - number * DAY for number in range(DAYS_KEPT, DAYS_KEPT + 4)]
    ensure_days(connection, days)
    first = maintain(connection, NOW).dropped
    assert first == tuple(partition_name(table, day) for table in TABLES for day in (days[3], days[2]))
    assert maintain(connection, NOW).dropped == tuple(partition_name(table, days[1]) for table in TABLES)
    assert maintain(connection, NOW).dropped == ()
    assert partition_name("usage_log", days[0]) in _partitions(connection, "usage_log")


def test_a_clock_set_back_drops_nothing(connection: AnyConnection) -> None:
    """All that is there is of the future then."""
    maintain(connection, NOW)
    assert maintain(connection, NOW - 400 * DAY).dropped == ()
    assert len(_partitions(connection, "usage_log")) == 10


def test_a_partition_that_is_read_stays_until_the_next_call(connection: AnyConnection, database_url: str) -> None:
    """The drop gives up after a second; loads go on meanwhile."""
    old = NOW.date() - (DAYS_KEPT + 1) * DAY
    ensure_days(connection, [old])
    with connect(database_url, "reader") as reader:
        reader.execute("SELECT count(*) FROM usage_log").fetchone()
        assert partition_name("usage_log", old) not in maintain(connection, NOW).dropped
        assert ensure_days(connection, [NOW.date() + 10 * DAY]), "a reader holds up no new partition"
        connection.execute(ADD_ROW, [NOW])
    assert partition_name("usage_log", old) in maintain(connection, NOW).dropped


def test_old_rows_of_the_small_tables_go(connection: AnyConnection) -> None:
    """Hours, days and candles; what is young enough stays."""
    old, young = NOW - (DAYS_KEPT + 2) * DAY, NOW - (DAYS_KEPT - 2) * DAY
    connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
    for time in (old, young):
        for table in ("usage_hour", "usage_day"):
            connection.execute(f"INSERT INTO {table} VALUES (%s, 0, 0, 0, 200, 1, 1, 1, 1, '{{}}')", [time])
        connection.execute("INSERT INTO price_minute VALUES (1, %s, 1, 1, 1, 1, 6, 0, 1, 1, 1, 1)", [time])
    assert maintain(connection, NOW).rows_deleted == 5
    sums = [(table, "start") for table in ("usage_hour", "usage_day", "usage_hour_all", "usage_day_all")]
    for table, column in (*sums, ("price_minute", "minute")):
        assert connection.execute(f"SELECT {column} FROM {table}").fetchall() == [(young,)]


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
            done = maintain(own, NOW)
            made.extend(done.made)
            dropped.extend(done.dropped)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(set(made)) == 5 * len(TABLES)
    assert len(dropped) == len(set(dropped)) == len(TABLES)
