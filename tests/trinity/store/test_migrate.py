"""Migrations on a real PostgreSQL: current, concurrent, killed, failing, newer, edited."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from trinity.errors import SchemaError, StoreUnavailableError
from trinity.store import migrate

ONE, TWO = "CREATE TABLE one (id integer);\n", "CREATE TABLE two (id integer);\nINSERT INTO two VALUES (2);\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Migrations of the test's own in the place of the real ones; odd characters are no pattern."""
    made = tmp_path / "mine [1]*"
    made.mkdir()
    monkeypatch.setattr(migrate, "FOLDER", made)
    _write(made, "0001-one", ONE)
    return made


def _write(folder: Path, name: str, text: str) -> None:
    """A migration; digests are computed once a process, because no file changes below a running node."""
    (folder / f"{name}.sql").write_text(text)
    migrate._digests.cache_clear()


def _tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relname IN ('one', 'two')").fetchall()
    return {row[0] for row in rows}


def test_an_empty_database_gets_all_tables_and_a_second_run_changes_nothing(empty_database_url: str) -> None:
    """`ensure` applies what is pending, in the files' order; then it is current."""
    before = migrate.status(empty_database_url)
    assert (before.applied, before.pending) == ((), tuple(migrate.digests(migrate.FOLDER)))
    assert migrate.ensure(empty_database_url).is_current
    assert migrate.ensure(empty_database_url) == migrate.status(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM plans").fetchone() == (4,)


def test_a_new_file_is_applied_after_the_old_ones(empty_database_url: str, folder: Path) -> None:
    """Forward only: what was applied is not touched again."""
    assert migrate.ensure(empty_database_url).applied == ("0001-one",)
    _write(folder, "0002-two", TWO)
    assert migrate.status(empty_database_url).pending == ("0002-two",)
    assert migrate.ensure(empty_database_url).applied == ("0001-one", "0002-two")
    assert _tables(empty_database_url) == {"one", "two"}


def test_nodes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    """Four of them: all succeed, each migration was applied by one."""
    found: list[migrate.Status] = []
    threads = [threading.Thread(target=lambda: found.append(migrate.ensure(empty_database_url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status.is_current for status in found] == [True] * 4
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM plans").fetchone() == (4,)


def test_who_does_not_migrate_waits_and_changes_nothing(empty_database_url: str, folder: Path) -> None:
    """`check` says that tables are missing or older, is content with those of this version, and refuses newer ones."""
    for number in (0, 1):
        with pytest.raises(StoreUnavailableError, match="not of this version yet"):
            migrate.check(empty_database_url)
        assert len(migrate.status(empty_database_url).applied) == number
        migrate.ensure(empty_database_url)
        migrate.check(empty_database_url)
        _write(folder, "0002-two", TWO)
    migrate.ensure(empty_database_url)
    (folder / "0002-two.sql").unlink()
    migrate._digests.cache_clear()
    with pytest.raises(SchemaError, match="newer than this version"):
        migrate.check(empty_database_url)


def test_a_newer_database_is_refused_and_not_touched(empty_database_url: str, folder: Path) -> None:
    """A node of the version before says what to install."""
    _write(folder, "0002-two", TWO)
    migrate.ensure(empty_database_url)
    (folder / "0002-two.sql").unlink()
    _write(folder, "0001-other", TWO)
    with pytest.raises(SchemaError, match="newer than this version"):
        migrate.ensure(empty_database_url)
    assert migrate.status(empty_database_url).unknown == ("0002-two",)


def test_an_edited_migration_is_noticed_and_a_comment_is_no_edit(empty_database_url: str, folder: Path) -> None:
    """Statements count, comments and spaces do not."""
    migrate.ensure(empty_database_url)
    _write(folder, "0001-one", "-- why\nCREATE  TABLE one (id integer); -- here\n")
    assert migrate.ensure(empty_database_url).is_current
    _write(folder, "0001-one", "CREATE TABLE one (id bigint);\n")
    with pytest.raises(SchemaError, match="0001-one is not what was applied"):
        migrate.ensure(empty_database_url)


def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database_url: str, folder: Path) -> None:
    """Neither its first statement nor a mark; repaired, it is applied as a whole."""
    _write(folder, "0002-two", TWO + "SELEC 1;\n")
    with pytest.raises(StoreUnavailableError, match="syntax error"):
        migrate.ensure(empty_database_url)
    assert _tables(empty_database_url) == {"one"}
    assert migrate.status(empty_database_url).applied == ("0001-one",)
    _write(folder, "0002-two", TWO)
    assert migrate.ensure(empty_database_url).is_current


def test_a_migration_that_is_killed_leaves_no_lock_and_nothing_half(empty_database_url: str, folder: Path) -> None:
    """SIGKILL in the middle of a long one; the next node goes ahead at once."""
    _write(folder, "0002-two", TWO + "SELECT pg_sleep(60);\n")
    code = (
        "import sys; from pathlib import Path; from trinity.store import migrate; "
        "migrate.FOLDER = Path(sys.argv[2]); migrate.ensure(sys.argv[1])"
    )
    with subprocess.Popen([sys.executable, "-c", code, empty_database_url, folder]) as process:
        deadline = time.monotonic() + 30
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep%%' AND pid <> pg_backend_pid()"
            while connection.execute(asleep).fetchone() != (1,):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        process.kill()
    _write(folder, "0002-two", TWO)
    # The server notices within seconds that its client is gone, and undoes what it did.
    assert migrate.ensure(empty_database_url).is_current
    assert _tables(empty_database_url) == {"one", "two"}


def test_no_database_is_a_typed_error(tmp_path: Path) -> None:
    """For both, in one line."""
    for ask in (migrate.ensure, migrate.status):
        with pytest.raises(StoreUnavailableError):
            ask(f"postgresql:///x?host={tmp_path}")


def test_single_requests_of_an_older_database_are_packed_and_read_the_same(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of two days, of both families' addresses and with everything that a column holds; their partitions go on."""
    real = migrate.FOLDER
    for path in sorted(real.glob("*.sql"))[:3]:
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(migrate, "FOLDER", tmp_path)
    migrate.ensure(empty_database_url)
    columns = "time, request_id, address, key_id, latency_ns, node_id, asset_id, assets, status, protocol, code, weight"
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        for day in (1, 2):
            bounds = f"FROM ('2026-03-{day:02}') TO ('2026-03-{day + 1:02}')"
            connection.execute(f"CREATE TABLE usage_log_2026030{day} PARTITION OF usage_log FOR VALUES {bounds}")
        connection.execute("""
            INSERT INTO usage_log
            SELECT '2026-03-01 23:59:59.2Z'::timestamptz + number * interval '1001 us',
                   (1::bigint << 56) + 8000 + number,
                   (ARRAY['::ffff:192.0.2.1', '2001:db8::ffff:1', 'ffff:ffff:ffff::ffff'])[1 + number % 3]::inet,
                   number % 2, 4294967295 - number, 1, 32767 - number % 7, number % 40, 200, number % 3, number % 9,
                   number % 4, 1 + number % 2
            FROM generate_series(1, 5000) AS number""")
        before = connection.execute(f"SELECT {columns}, source FROM usage_log ORDER BY request_id").fetchall()
    monkeypatch.setattr(migrate, "FOLDER", real)
    migrate.ensure(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        assert connection.execute(f"SELECT {columns}, source FROM usage_log ORDER BY request_id").fetchall() == before
        days = connection.execute("SELECT DISTINCT tableoid::regclass::text FROM usage_runs ORDER BY 1").fetchall()
        assert days == [("usage_runs_20260301",), ("usage_runs_20260302",)]
