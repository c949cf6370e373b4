"""`trinity db` against a real PostgreSQL, and without one."""

from pathlib import Path

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main
from trinity.store import migrate


def test_an_empty_database_is_brought_to_this_version(
    trinity_json: Run, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status` names what is pending (1), `migrate` applies it (0), once; then `status` is content (0)."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    names = list(migrate.digests(migrate.FOLDER))
    code, status, _ = trinity_json("db", "status")
    assert (code, status["current"], status["pending"], status["embedded"]) == (1, False, names, False)
    code, migrated, _ = trinity_json("db", "migrate")
    assert (code, migrated["current"], migrated["newly_applied"]) == (0, True, names)
    assert trinity_json("db", "migrate")[1]["newly_applied"] == []
    assert trinity_json("db", "status")[:1] == (0,)


def test_people_get_lines(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trinity_json: Run
) -> None:
    """The same words, with what to do."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert main(["db", "status"]) == 1
    text = capsys.readouterr().out
    assert "pending" in text
    assert "trinity db migrate" in text
    assert main(["db", "migrate"]) == 0
    assert "as this version needs them" in capsys.readouterr().out


def test_without_a_node_the_embedded_database_says_what_to_start(trinity_json: Run, tmp_path: Path) -> None:
    """`url` tells the address all the same; the other two end with 1 and the advice."""
    code, found, _ = trinity_json("db", "url")
    assert (code, found["embedded"]) == (0, True)
    assert found["url"].startswith("postgresql:///trinity?host=")
    for action in ("status", "migrate"):
        code, _, error = trinity_json("db", action)
        assert (code, error["error"]["kind"]) == (1, "StoreUnavailableError")
        assert "trinity run" in error["error"]["message"]


def test_passwords_are_shown_by_url_alone(trinity_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`url` is asked for by who needs it; errors and states never show the password."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/name")
    assert trinity_json("db", "url")[1]["url"] == "postgresql://user:secret@127.0.0.1:1/name"
    code, _, error = trinity_json("db", "status")
    assert code == 1
    assert "secret" not in str(error)
    assert "DATABASE_URL" in str(error)
