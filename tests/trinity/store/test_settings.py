"""The embedded server's settings as text."""

from pathlib import Path

import psycopg

from trinity.store.settings import SETTINGS, render, server_settings


def test_values_and_folders_are_quoted_for_the_file() -> None:
    """Quotes, backslashes, commas and spaces of a folder do not end its name."""
    text = render({"timezone": "UTC"}, Path("/a b,'c\"\\d"))
    assert "timezone = 'UTC'\n" in text
    assert "unix_socket_directories = '\"/a b,''c\"\"\\\\d\"'\n" in text


def test_the_server_takes_every_setting(database_url: str) -> None:
    """PostgreSQL knows each name and reads its file without an error."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT name, error FROM pg_file_settings").fetchall()
        assert {name for name, _ in rows} == set(server_settings(backed_up=True)) | {
            "unix_socket_directories", "fsync", "full_page_writes",
        }  # fmt: skip
        assert [error for _, error in rows if error] == []


def test_only_a_server_that_is_backed_up_notes_which_blocks_changed() -> None:
    """The notes cost room on a full disk, where a few hundred KB decide whether anybody can connect after a crash."""
    assert "summarize_wal" not in server_settings(backed_up=False)
    assert server_settings(backed_up=True) == dict(SETTINGS) | {"summarize_wal": "on"}
