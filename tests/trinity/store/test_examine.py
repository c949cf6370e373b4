"""A real PostgreSQL, asked whether it will do."""

from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from trinity.config import Config, NodeSection, StoresSection
from trinity.store.examine import ask_database
from trinity.store.migrate import ensure


def _config(url: str | None, data_dir: Path = Path("/nowhere")) -> Config:
    return Config(node=NodeSection(data_dir=data_dir), stores=StoresSection(database_url=url))


def test_a_database_tells_version_rights_and_tables(empty_database_url: str) -> None:
    """Nothing is changed by asking."""
    for _ in range(2):
        answer = ask_database(_config(empty_database_url))
        assert (answer.error, answer.embedded, answer.version, answer.may_write) == ("", False, 18, True)
        assert answer.tables is not None
        assert answer.tables.pending
    ensure(empty_database_url)
    tables = ask_database(_config(empty_database_url)).tables
    assert tables is not None
    assert tables.is_current


def test_a_user_without_rights_is_noticed(empty_database_url: str) -> None:
    """They may connect, and make no table."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
    fields = conninfo_to_dict(empty_database_url)
    url = f"postgresql:///{fields['dbname']}?host={fields['host']}&user=reader"
    assert ask_database(_config(url)).may_write is False


def test_no_database_is_an_answer_too(tmp_path: Path) -> None:
    """The reason is there, the password is not."""
    assert "failed" in ask_database(_config(None, tmp_path)).error
    answer = ask_database(_config("postgresql://user:secret@127.0.0.1:1/name"))
    assert answer.error
    assert "secret" not in answer.error
