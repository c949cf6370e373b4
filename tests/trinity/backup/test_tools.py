"""trinity/backup/tools.py"""

from pathlib import Path

import pytest

from trinity.backup.tools import Tool, run_tool, server_arguments
from trinity.errors import BackupToolError


def test_a_password_is_in_no_argument() -> None:
    """Everybody can read a command line."""
    arguments, environment = server_arguments("postgresql://me:secret%21@host:5433/db", "log")
    assert environment == {"PGPASSWORD": "secret!"}
    assert "secret" not in " ".join(arguments)
    assert "port=5433" in arguments[-1]


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    """Its last words are the reason."""
    with pytest.raises(BackupToolError, match=r"pg_combinebackup: it ended with 1: .*no input"):
        run_tool("pg_combinebackup", ["--output", str(tmp_path / "out")], tmp_path / "said")
    assert not (tmp_path / "out").exists()


def test_a_program_is_stopped_at_once(tmp_path: Path) -> None:
    """Also one that waits for a server."""
    arguments, _ = server_arguments(f"postgresql:///x?host={tmp_path}", "log")
    tool = Tool("pg_receivewal", ["--directory", str(tmp_path), *arguments], {}, tmp_path / "said")
    tool.stop()
    assert tool.exit_code() is not None
