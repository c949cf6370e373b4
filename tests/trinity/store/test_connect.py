"""Connections to a real PostgreSQL: bounds, names, and what errors mean."""

import psycopg
import pytest

from trinity.errors import StoreUnavailableError
from trinity.store.connect import connect, judge


def test_a_connection_is_named_bounded_and_in_utc(database_url: str) -> None:
    """pg_stat_activity shows who it is; statements end at their bound, and that is worth another try later."""
    with connect(database_url, "flusher", statement_seconds=0.05) as connection:
        row = connection.execute(
            "SELECT application_name, current_setting('TimeZone') FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
        assert row == ("trinity flusher", "UTC")
        with pytest.raises(psycopg.errors.QueryCanceled) as caught:
            connection.execute("SELECT pg_sleep(10)")
    assert judge(caught.value) == "later"


def test_no_server_is_a_typed_error_without_the_password() -> None:
    """The reason is one line."""
    with pytest.raises(StoreUnavailableError) as caught:
        connect("postgresql://user:secret@127.0.0.1:1/name", "x")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_are_judged_by_their_class(database_url: str) -> None:
    """A wrong row never gets in, a lock that is held is tried again, a missing database is waited for."""
    with connect(database_url, "x", autocommit=True) as connection:
        for statement in ("INSERT INTO plans (name) VALUES ('free')", "SELEC 1", "SELECT 1/0"):
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(statement)
            assert judge(caught.value) == "never"
        with connect(database_url, "y") as other:
            other.execute("LOCK TABLE plans")
            with pytest.raises(psycopg.Error) as caught, connection.transaction():
                connection.execute("LOCK TABLE plans NOWAIT")
            assert judge(caught.value) == "again"
        assert judge(psycopg.OperationalError("the connection is lost")) == "later"
        assert judge(psycopg.ProgrammingError("cannot adapt")) == "never"
        connection.close()
        with pytest.raises(psycopg.OperationalError) as closed:
            connection.execute("SELECT 1")
        assert judge(closed.value) == "later"
